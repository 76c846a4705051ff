-- What wrk asks for, and what it says at the end, as JSON.
--
-- The first argument is a file with a path on each line, which are asked for in this order, again and again, or `-`
-- for the path of the URL alone.

local requests = {}
local place = 0

function init(arguments)
  if arguments[1] ~= "-" then
    for path in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("GET", path)
    end
    request = function()
      place = place % #requests + 1
      return requests[place]
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"most":%d,"bad_status":%d,"broken":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
