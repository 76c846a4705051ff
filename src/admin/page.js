
'use strict';
// Asks /api every few seconds and draws what it says. What others named is only ever written as text.
(() => {
  const EVERY = 5000, PATIENCE = 4500, HOUR = 3600000, MINUTE = 60000, PER_PAGE = 25, LANES = 12, NAMES = 150;
  const $ = (id) => document.getElementById(id);
  const known = { status: null, tenants: [], credentials: [], cache: null, points: [], events: [], now: 0, run: null, last: null, heard: null };
  const lists = { tenants: 0, credentials: 0, tokens: 0 };
  const shownAs = new Map();
  let lostSince = null, tries = 0, asking = false, timer = 0;
  const opened = Date.now();

  // --- Small tools ---------------------------------------------------------------------------------------------
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined) { node.setAttribute(name, String(value)); }
    }
    node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
    return node;
  }
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
  const number = (value) => Number(value).toLocaleString('en-US');
  const sum = (counts) => Object.values(counts || {}).reduce((one, other) => one + other, 0);
  const add = (into, counts) => { for (const [name, count] of Object.entries(counts || {})) { into[name] = (into[name] || 0) + count; } };
  const clock = (time) => (time === null || time === undefined ? '–' : new Date(time).toLocaleTimeString('en-GB'));
  const percent = (part, whole) => (whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : '–');
  const cheap = (results) => (results.hit || 0) + (results.stale || 0) + (results.collapsed || 0);
  const plural = (count, what) => `${number(count)} ${what}${count === 1 ? '' : 's'}`;
  function bytes(value) {
    for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
      if (value >= size) { return `${(value / size).toFixed(1)} ${unit}`; }
    }
    return `${value} B`;
  }
  // Many names begin alike, so what is cut out of one is its kind, and then its middle.
  function short(name, letters) {
    if (name.length <= letters) { return name; }
    const bare = name.slice(name.indexOf('/') + 1), half = Math.max(1, Math.floor((letters - 1) / 2));
    return bare.length <= letters ? bare : `${bare.slice(0, letters - 1 - half)}…${bare.slice(-half)}`;
  }
  const seconds = (value) => (value < 0.001 ? `${value * 1e6} µs` : value < 1 ? `${value * 1e3} ms` : `${value} s`);
  // Draws a part anew only where something changed, and gives the focus back to whoever had it there.
  function change(id, data, draw) {
    const sign = JSON.stringify(data);
    if (shownAs.get(id) === sign) { return; }
    shownAs.set(id, sign);
    const node = $(id), had = node.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    draw(node);
    if (had) { [...node.querySelectorAll('[data-key]')].find((one) => one.dataset.key === had)?.focus(); }
  }
  const say = (id, text) => { if ($(id).textContent !== text) { $(id).textContent = text; } };

  // --- Asking --------------------------------------------------------------------------------------------------
  async function ask(path, method = 'GET', patience = PATIENCE) {
    const answer = await fetch(path, { method, cache: 'no-store', signal: AbortSignal.timeout(patience) });
    return { ok: answer.ok, status: answer.status, body: await answer.json() };
  }
  async function get(path) {
    const answer = await ask(path);
    if (!answer.ok) { throw new Error(`${path} answers ${answer.status}`); }
    return answer.body;
  }
  async function update() {
    if (asking) { return; }
    asking = true;
    clearTimeout(timer);
    try {
      const after = known.last === null ? '' : `?after=${known.last}`;
      const [status, history, tenants, credentials, cache] = await Promise.all([
        get('/api/status'), get(`/api/history${after}`), get('/api/tenants'), get('/api/credentials'), get('/api/cache')]);
      if (known.run !== null && history.run !== known.run) {
        Object.assign(known, { points: [], events: [], run: null, last: null });
        asking = false;
        return update();
      }
      remember(history);
      Object.assign(known, { status, tenants: tenants.tenants, credentials: credentials.credentials, cache, heard: Date.now() });
      lostSince = null;
      tries = 0;
    } catch (error) {
      lostSince = lostSince || known.heard || opened;
      tries += 1;
      known.error = error.name === 'TimeoutError' ? 'it did not answer in time' : error.message;
    }
    asking = false;
    render();
    if (!document.hidden) { timer = setTimeout(update, EVERY); }
  }
  // The last point is the one that still changes, so it is asked for again.
  function remember(history) {
    const upTo = known.last === null ? -1 : known.last;
    known.points = known.points.filter((point) => point.number <= upTo).concat(history.points).slice(-history.kept.points - 1);
    known.events = known.events.filter((event) => event.point <= upTo).concat(history.events)
      .filter((event) => event.at > history.now - HOUR).slice(-history.kept.events);
    const whole = known.points.slice(0, -1);
    known.last = whole.length > 0 ? whole[whole.length - 1].number : null;
    Object.assign(known, { run: history.run, now: history.now, bounds: history.latency_bounds_seconds, kept: history.kept });
  }

  // --- The first screen ----------------------------------------------------------------------------------------
  function render() {
    const lost = lostSince !== null;
    $('banner').hidden = !lost;
    if (lost) {
      const old = known.heard ? ` What stands below is of ${clock(known.heard)}.` : '';
      say('banner', `The proxy can't be reached since ${clock(lostSince)} (${plural(tries, 'attempt')}; ${known.error}).${old}`);
    }
    if (!known.status) { return; }
    say('version', known.status.version);
    say('as-of', lost ? `As of ${clock(known.heard)}` : `As of ${clock(known.status.as_of)}, asked every ${EVERY / 1000} seconds`);
    $('exposed').hidden = known.status.exposed.length === 0;
    say('exposed', `Reachable from elsewhere: ${known.status.exposed.join('; ')}`);
    failing();
    tiles();
    pictures();
    tables();
  }
  function failing() {
    const groups = new Map();
    for (const tenant of known.tenants.filter((one) => one.failing)) {
      const group = groups.get(tenant.failing.reason) || [];
      group.push(tenant);
      groups.set(tenant.failing.reason, group);
    }
    const sorted = [...groups].sort((one, other) => other[1].length - one[1].length);
    const count = sorted.reduce((all, [, tenants]) => all + tenants.length, 0);
    $('failing').classList.toggle('fails', count > 0);
    say('failing-title', count === 0 ? 'Failing' : `Failing: ${number(count)} of ${plural(known.tenants.length, 'tenant')}`);
    change('failing-groups', sorted.map(([reason, tenants]) => [reason, tenants.map((one) => [one.tenant, one.failing])]), (node) => {
      node.replaceChildren(...sorted.map(([reason, tenants]) => group(reason, tenants)));
      if (count === 0) { node.append(el('p', { class: 'good' }, 'No tenant fails.')); }
    });
  }
  function group(reason, tenants) {
    // Said once for all of them, so without the first one's name.
    const words = (tenant) => (tenants.length === 1 ? tenant.failing.message : tenant.failing.message.split(tenant.tenant).join('the tenant'));
    const first = words(tenants[0]), differ = tenants.some((tenant) => words(tenant) !== first);
    const item = (tenant) => {
      const { endpoints, serving } = tenant.failing;
      const note = endpoints.length > 0 ? ` (${endpoints.join(', ')})` : serving ? ' (still served)' : '';
      return el('li', { title: `${tenant.failing.message} ${tenant.failing.remedy}`, 'data-tenant': tenant.tenant }, tenant.tenant.slice(tenant.tenant.indexOf('/') + 1) + note);
    };
    // Their kind is said once for all of them, so that many names have room.
    const list = (few) => ['organizations/', 'instances/'].map((kind) => {
      const of = few.filter((tenant) => tenant.tenant.startsWith(kind));
      return of.length === 0 ? null : el('ul', { class: 'names', 'aria-label': kind }, el('li', { class: 'kind' }, kind), ...of.map(item));
    }).filter((one) => one !== null);
    const names = el('div', null, ...list(tenants.slice(0, NAMES)));
    if (tenants.length > NAMES) {
      const more = el('button', { type: 'button', class: 'small', 'data-key': `all ${reason}` }, `all ${number(tenants.length)}`);
      more.addEventListener('click', () => names.replaceChildren(...list(tenants)));
      names.append(more);
    }
    return el('div', { class: 'group', 'data-reason': reason }, el('h3', null, reason), ` ${plural(tenants.length, 'tenant')}: `,
      el('p', { class: 'why' }, first + (differ ? ' (And others; see the tables.)' : '')), names);
  }
  function tiles() {
    const { status, cache, credentials } = known;
    const asked = sum(status.cache), tokens = credentials.reduce((all, one) => all + (one.token_requests?.ok || 0), 0);
    const rows = [
      ['requests', 'requests', status.requests, number(status.requests)],
      ['failed', 'failed (5xx)', status.failed, number(status.failed)],
      ['hit-ratio', 'hit ratio', asked > 0 ? cheap(status.cache) / asked : '', percent(cheap(status.cache), asked)],
      ['upstream', 'to Talkdesk', status.upstream_requests, number(status.upstream_requests)],
      ['tokens', 'tokens fetched', tokens, number(tokens)],
      ['entries', 'cache entries', cache.entries, number(cache.entries)],
    ];
    change('tiles', rows, (node) => node.replaceChildren(...rows.map(([id, name, value, shown]) =>
      el('div', null, el('dt', null, name), el('dd', { id: `n-${id}`, 'data-value': value }, shown)))));
  }

  // --- Pictures ------------------------------------------------------------------------------------------------
  // From the first point on, five minutes at least and an hour at most.
  function span() {
    const first = known.points.length > 0 ? known.points[0].at - known.points[0].seconds * 1000 : known.now;
    const length = [5, 10, 20, 30].map((minutes) => minutes * MINUTE).find((one) => one >= known.now - first) || HOUR;
    return { from: known.now - length, length };
  }
  function canvas(id, height, words) {
    const width = Math.max(260, $(id).clientWidth);
    const picture = svg('svg', { role: 'img', viewBox: `0 0 ${width} ${height}`, height, 'aria-label': words });
    $(id).replaceChildren(picture);
    return { picture, width, height };
  }
  function axis({ picture, width, height }, left, right, { length }) {
    const bottom = height - 16, minutes = length / MINUTE, steps = width - left - right < 320 ? 1 : 5;
    picture.append(svg('line', { class: 'axis', x1: left, x2: width - right, y1: bottom, y2: bottom }));
    for (let step = 0; step <= steps; step += 1) {
      const ago = Math.round(minutes * (1 - step / steps));
      const x = left + (width - left - right) * step / steps;
      picture.append(svg('text', { x, y: height - 3, 'text-anchor': step === 0 ? 'start' : step === steps ? 'end' : 'middle' }, ago === 0 ? 'now' : `−${ago} min`));
    }
    return bottom;
  }
  function pictures() {
    const time = span();
    traffic(time);
    cost();
    latency(time);
    tokens(time);
  }
  function traffic(time) {
    const points = known.points;
    const requests = points.reduce((all, point) => all + point.requests, 0), results = {};
    points.forEach((point) => add(results, point.cache));
    const rate = (point) => (point.seconds > 0 ? point.requests / point.seconds : 0);
    const top = Math.max(0.1, ...points.filter((point) => point.seconds >= 1).map(rate));
    const words = requests === 0 ? 'No request yet.' : `${plural(requests, 'request')}, up to ${top.toFixed(top < 10 ? 1 : 0)} a second; hit ratio ${percent(cheap(results), sum(results))}`;
    say('traffic-words', words);
    const area = canvas('traffic', 210, words), left = 34, right = 38, { picture, width } = area;
    const bottom = axis(area, left, right, time), x = (at) => left + (width - left - right) * Math.max(0, (at - time.from) / time.length);
    const y = (share) => bottom - (bottom - 22) * Math.min(1, share);
    picture.dataset.requests = requests;
    let path = '';
    for (const point of points.filter((one) => one.seconds >= 1)) {
      const height = y(rate(point) / top), begin = x(point.at - point.seconds * 1000), end = x(point.at);
      path += path === '' ? `M${begin},${bottom}` : '';
      path += `L${begin},${height}L${end},${height}`;
    }
    if (path !== '') { picture.append(svg('path', { class: 'area', d: `${path}L${x(known.now)},${bottom}Z` })); }
    // By the minute: a ratio of three requests jumps.
    const minutes = new Map();
    for (const point of points) {
      const minute = Math.floor(point.at / MINUTE), counts = minutes.get(minute) || {};
      add(counts, point.cache);
      minutes.set(minute, counts);
    }
    const line = [...minutes].filter(([, counts]) => sum(counts) > 0)
      .map(([minute, counts]) => [x(Math.min(known.now, minute * MINUTE + MINUTE / 2)), y(cheap(counts) / sum(counts))]);
    if (line.length > 0) { picture.append(svg('polyline', { class: 'ratio', points: line.map((at) => at.join(',')).join(' ') })); }
    line.forEach(([cx, cy]) => picture.append(svg('circle', { cx, cy, r: 2, class: 'ratio' })));
    for (const point of points.filter((one) => one.failed > 0)) {
      picture.append(svg('circle', { class: 'error-mark', cx: x(point.at), cy: bottom, r: 3, 'data-failed': point.failed },
        svg('title', null, `${clock(point.at)}: ${plural(point.failed, 'request')} failed`)));
    }
    picture.append(
      svg('text', { x: left - 4, y: 26, 'text-anchor': 'end' }, top.toFixed(top < 10 ? 1 : 0)), svg('text', { x: left - 4, y: bottom, 'text-anchor': 'end' }, '0'),
      svg('text', { x: width - right + 4, y: 26 }, '100 %'), svg('text', { x: width - right + 4, y: bottom }, '0 %'),
      svg('text', { x: left, y: 11, class: 'blue' }, 'requests a second'), svg('text', { x: width - right, y: 11, class: 'green', 'text-anchor': 'end' }, 'hit ratio'));
    if (points.some((one) => one.failed > 0)) { picture.append(svg('text', { x: left + 130, y: 11, class: 'red' }, '● failed')); }
  }
  function cost() {
    const counts = {};
    let rest = 0;
    known.points.forEach((point) => { add(counts, point.tenants); rest += point.tenants_rest; });
    const sorted = Object.entries(counts).sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]));
    const bars = sorted.slice(0, 10), others = sorted.length - bars.length;
    const remaining = rest + sorted.slice(10).reduce((all, one) => all + one[1], 0);
    if (remaining > 0) { bars.push([`${rest > 0 ? 'all' : number(others)} others`, remaining]); }
    const all = bars.reduce((total, one) => total + one[1], 0);
    const words = all === 0 ? 'Nothing was asked of Talkdesk.' : `${plural(all, 'request')} to Talkdesk's API in the last hour; ${bars[0][0]} has ${percent(bars[0][1], all)}`;
    say('cost-words', words);
    const { picture, width } = canvas('cost', Math.max(40, 10 + 18 * bars.length), words), most = Math.max(1, ...bars.map((one) => one[1]));
    const names = Math.min(width * 0.45, 8 + 6.7 * Math.max(0, ...bars.map((one) => one[0].length))), row = 18;
    const letters = Math.floor(names / 6.7);
    picture.dataset.requests = all;
    bars.forEach(([name, count], place) => {
      const y = 4 + place * row;
      picture.append(
        svg('text', { class: 'name', x: 0, y: y + 12 }, short(name, letters), svg('title', null, name)),
        svg('rect', { class: 'bar', x: names, y: y + 1, height: row - 5, rx: 2, width: Math.max(2, (width - names - 54) * count / most), 'data-tenant': name, 'data-value': count },
          svg('title', null, `${name}: ${plural(count, 'request')}`)),
        svg('text', { class: 'value', x: names + 6 + Math.max(2, (width - names - 54) * count / most), y: y + 12 }, number(count)));
    });
  }
  function latency(time) {
    const columns = Math.min(60, time.length / 10000), bands = known.bounds.length + 1, cells = Array.from({ length: columns }, () => new Array(bands).fill(0)), all = new Array(bands).fill(0);
    for (const point of known.points) {
      const column = Math.min(columns - 1, Math.max(0, Math.floor(columns * (point.at - 1 - time.from) / time.length)));
      point.latency.forEach((count, band) => { cells[column][band] += count; all[band] += count; });
    }
    const total = all.reduce((one, other) => one + other, 0);
    const below = (share) => {
      let seen = 0;
      const band = all.findIndex((count) => { seen += count; return seen >= share * total; });
      return band < known.bounds.length ? `below ${seconds(known.bounds[band])}` : `above ${seconds(known.bounds[band - 1])}`;
    };
    const words = total === 0 ? 'No request yet.' : `half ${below(0.5)}, 99 of 100 ${below(0.99)}; ${plural(total, 'answer')}`;
    say('latency-words', words);
    const area = canvas('latency', 216, words), left = 46, { picture, width } = area;
    const bottom = axis(area, left, 0, time), height = (bottom - 16) / bands, wide = (width - left) / columns;
    const most = Math.max(1, ...cells.flat());
    picture.dataset.answers = total;
    picture.append(svg('text', { x: width, y: 11, 'text-anchor': 'end' }, 'the fuller the colour, the more answers'));
    for (let band = 0; band < bands; band += 1) {
      const y = bottom - (band + 1) * height;
      if (band % 2 === 1 || band === bands - 1) {
        const label = band < known.bounds.length ? seconds(known.bounds[band]) : 'more';
        picture.append(svg('text', { x: left - 5, y: y + height / 2 + 4, 'text-anchor': 'end' }, label));
      }
      for (let column = 0; column < columns; column += 1) {
        const count = cells[column][band];
        if (count > 0) {
          picture.append(svg('rect', { class: 'cell', x: left + column * wide, y: y + 0.5, width: Math.max(1, wide - 0.5), height: height - 1,
            'fill-opacity': (0.2 + 0.8 * Math.log1p(count) / Math.log1p(most)).toFixed(2), 'data-count': count },
          svg('title', null, `${plural(count, 'answer')} ${band < known.bounds.length ? `within ${seconds(known.bounds[band])}` : 'slower still'}`)));
        }
      }
    }
  }
  function tokens(time) {
    const by = new Map(known.credentials.map((one) => [one.credential, []])), whole = [];
    for (const event of known.events) {
      if (event.credential === '') { whole.push(event); } else if (by.has(event.credential)) { by.get(event.credential).push(event); }
    }
    const grave = (one) => (one.paused ? 2 : 0) + (one.last_error ? 1 : 0);
    const sorted = known.credentials.slice().sort((one, other) => grave(other) - grave(one) || by.get(other.credential).length - by.get(one.credential).length);
    const count = (kind) => known.events.filter((event) => event.kind === kind).reduce((all, event) => all + event.count, 0);
    const errors = {};
    known.points.forEach((point) => add(errors, point.upstream_errors));
    const wrong = [[count('token_failed'), (many) => `${number(many)} refused or failed`], [count('paused'), (many) => plural(many, 'pause')],
      [sum(errors), (many) => `${plural(many, 'request')} to Talkdesk without a usable answer`]].filter(([many]) => many > 0).map(([many, told]) => told(many));
    const words = `${plural(count('token'), 'token')} fetched; ${wrong.join(', ') || 'nothing failed'}`;
    say('tokens-words', words + (known.kept.events_dropped > 0 ? '; the oldest events gave way' : ''));
    const lanes = paged('tokens', sorted, LANES, 'credential');
    const row = 18, height = (lanes.length + 1) * row + 40, area = canvas('tokens', Math.max(120, height), words), { picture, width } = area;
    const names = Math.min(width * 0.36, 10 + 6.7 * Math.max(10, ...lanes.map((one) => one.credential.length))), letters = Math.floor(names / 6.7);
    const bottom = axis(area, names, 0, time), x = (at) => Math.min(width, names + (width - names) * Math.max(0, (at - time.from) / time.length));
    const mark = (tag, attributes, title, kind, number) => picture.append(svg(tag, { ...attributes, 'data-kind': kind, 'data-count': number }, svg('title', null, title)));
    const cross = (at, y) => `M${x(at) - 4},${y + 3}l8,8m0,-8l-8,8`;
    const label = (name, y) => picture.append(svg('text', { class: 'name', x: 0, y: y + 11 }, short(name, letters), svg('title', null, name)));
    const legend = [['green', '▮ token'], ['red', '× failure'], ['amber', '▮ pause'], ['blue', '▲ reload']];
    legend.forEach(([color, text], place) => picture.append(svg('text', { class: color, x: place * 72, y: 11 }, text)));
    let y = 18;
    label('the proxy', y);
    for (const event of whole) {
      const done = event.kind === 'reloaded';
      mark('path', { class: done ? 'reload' : 'fault', d: done ? `M${x(event.at) - 5},${y + 12}l5,-10l5,10z` : cross(event.at, y) }, `${clock(event.at)}: ${done ? 'configuration loaded' : 'configuration refused'}`, event.kind, event.count);
    }
    for (const point of known.points.filter((one) => sum(one.upstream_errors) > 0)) {
      mark('path', { class: 'fault', d: cross(point.at, y) }, `${clock(point.at)}: ${Object.entries(point.upstream_errors).map((one) => one.join(' ')).join(', ')}`, 'upstream_error', sum(point.upstream_errors));
    }
    for (const credential of lanes) {
      y += row;
      label(credential.credential, y);
      const events = by.get(credential.credential), lives = events.filter((event) => event.kind === 'token');
      // A token from before the hour is known by its end alone.
      if (lives.length === 0 && credential.token_usable_until) { lives.push({ at: time.from, until: Date.parse(credential.token_usable_until), count: 0 }); }
      lives.forEach((life, place) => {
        const end = Math.min(life.until, lives[place + 1]?.at ?? Infinity, known.now);
        picture.append(svg('rect', { class: 'life', x: x(life.at), y: y + 2, height: 11, width: Math.max(1, x(end) - x(life.at)) }, svg('title', null, `token from ${clock(life.at)} until ${clock(life.until)}`)));
        if (life.count > 0) { mark('line', { class: 'refresh', x1: x(life.at), x2: x(life.at), y1: y + 1, y2: y + 14 }, `${clock(life.at)}: ${plural(life.count, 'token')}, until ${clock(life.until)}`, 'token', life.count); }
      });
      for (const event of events) {
        if (event.kind === 'paused') {
          mark('rect', { class: 'pause', x: x(event.at), y: y + 4, height: 7, width: Math.max(3, x(Math.min(event.until, known.now)) - x(event.at)) }, `${clock(event.at)}: paused until ${clock(event.until)}`, 'paused', event.count);
        } else if (event.kind === 'token_failed') {
          mark('path', { class: 'fault', d: cross(event.at, y) }, `${clock(event.at)}: ${event.result}, ${number(event.count)} times`, 'token_failed', event.count);
        }
      }
    }
    picture.append(svg('line', { class: 'axis', x1: names, x2: names, y1: 18, y2: bottom }));
  }

  // --- Tables --------------------------------------------------------------------------------------------------
  // The page of a list that is looked at, with buttons for the others.
  function paged(list, all, size, what) {
    const pages = Math.max(1, Math.ceil(all.length / size));
    lists[list] = Math.min(lists[list], pages - 1);
    const from = lists[list] * size, to = Math.min(all.length, from + size);
    change(`${list}-pages`, [from, to, all.length], (node) => {
      const turn = (text, by, can) => {
        const button = el('button', { type: 'button', 'data-key': text, 'aria-label': `${text} page of ${list}` }, text);
        button.disabled = !can;
        button.addEventListener('click', () => { lists[list] += by; render(); });
        return button;
      };
      const where = el('span', { role: 'status' }, all.length === 0 ? `No ${what}.` : `${number(from + 1)}–${number(to)} of ${number(all.length)}`);
      node.replaceChildren(...(pages > 1 ? [turn('Previous', -1, from > 0), where, turn('Next', 1, to < all.length)] : list === 'tokens' ? [] : [where]));
    });
    return all.slice(from, to);
  }
  const cell = (label, content, attributes) => el('td', { 'data-label': label, class: content === '–' ? 'empty' : null, ...attributes }, ...[content].flat());
  const counted = (label, value) => cell(label, value === null || value === undefined ? '–' : number(value), { 'data-value': value });
  const rows = (id, data, draw) => change(id, data, (node) => node.tBodies[0].replaceChildren(...data.map(draw)));
  function found(list, search, text) {
    const words = $(search).value.trim().toLowerCase().split(/\s+/).filter((word) => word !== '');
    return list.filter((one) => { const here = text(one).toLowerCase(); return words.every((word) => here.includes(word)); });
  }
  function tables() {
    const filter = $('tenant-filter').value;
    const wanted = known.tenants.filter((one) => filter === 'all' || (filter === 'failing') === (one.failing !== null));
    const reasons = (one) => Object.values(one.endpoints).map((verdict) => verdict.reason || verdict.credential).join(' ');
    const tenants = found(wanted, 'tenant-search', (one) => `${one.tenant} ${one.organization} ${one.plan || ''} ${one.failing ? one.failing.reason : ''} ${reasons(one)}`);
    rows('tenants', paged('tenants', tenants, PER_PAGE, 'tenant'), tenantRow);
    const credentials = found(known.credentials, 'credential-search', (one) => `${one.credential} ${one.client_id} ${one.state} ${one.last_error || ''}`);
    rows('credentials', paged('credentials', credentials, PER_PAGE, 'credential'), (one) => el('tr', { 'data-row': one.credential },
      el('th', { scope: 'row' }, one.credential),
      cell('state', one.state + (one.paused ? ', paused' : '') + (one.unreachable ? ', Talkdesk unreachable' : ''), { class: one.last_error || one.paused || one.unreachable ? 'bad' : one.state === 'valid' ? 'good' : 'dim' }),
      cell('token until', clock(one.token_usable_until), { title: one.token_usable_until }),
      counted('tokens', one.token_requests?.ok),
      cell('last error', one.last_error || '–'), cell('next attempt', clock(one.next_attempt), { title: one.next_attempt })));
    cacheTables();
    const { limits, denied } = known.status;
    rows('limits', Object.entries(limits), ([name, decisions]) => el('tr', { 'data-row': name }, el('th', { scope: 'row' }, name),
      ...['allowed', 'waited', 'refused'].map((decision) => counted(decision, decisions[decision] || 0))));
    const waiting = known.credentials.filter((one) => one.waiting > 0 || one.paused);
    rows('waiting', waiting, (one) => el('tr', { 'data-row': one.credential }, el('th', { scope: 'row' }, one.credential), counted('waiting', one.waiting), cell('paused until', clock(one.paused_until))));
    reasonsOf('denied', denied);
    $('waiting').hidden = waiting.length === 0;
  }
  function reasonsOf(id, counts) {
    const sorted = Object.entries(counts).filter(([, count]) => count > 0).sort((one, other) => other[1] - one[1]);
    rows(id, sorted, ([reason, count]) => el('tr', { 'data-row': reason }, el('th', { scope: 'row' }, reason), counted('times', count)));
    $(id).hidden = sorted.length === 0;
  }
  function tenantRow(one) {
    const verdicts = Object.entries(one.endpoints), granted = verdicts.filter(([, verdict]) => verdict.entitled), refused = verdicts.filter(([, verdict]) => !verdict.entitled);
    const why = new Map();
    refused.forEach(([name, verdict]) => why.set(verdict.reason, (why.get(verdict.reason) || []).concat(name)));
    const may = [];
    if (granted.length > 0) { may.push(el('span', { class: 'good' }, refused.length === 0 ? 'entitled: all' : 'entitled: all but')); }
    for (const [reason, names] of why) {
      const verdict = one.endpoints[names[0]];
      may.push(el('div', { class: granted.length > 0 && reason === 'organization_only' ? 'dim' : 'bad', title: `${verdict.message} ${verdict.remedy}` }, granted.length > 0 ? `${names.join(', ')}: ${reason}` : `refused: ${reason}`));
    }
    if (one.failing && one.failing.reason && !why.has(one.failing.reason)) {
      may.push(el('div', { class: 'bad', title: `${one.failing.message} ${one.failing.remedy}` }, `fails: ${one.failing.reason}`));
    }
    const outcomes = one.requests && Object.entries(one.requests).filter(([, count]) => count > 0).map(([name, count]) => `${name} ${number(count)}`).join(', ');
    const last = one.asked_last;
    const asked = last ? [`${last.endpoint}: ${last.status} `, el('div', { class: last.outcome === 'error' || last.outcome === 'denied' ? 'bad' : 'dim' }, `${clock(last.at)}, ${last.outcome}`)] : '–';
    const look = el('a', { href: `/api/cache/entries?tenant=${encodeURIComponent(one.tenant)}`, 'data-key': `look ${one.tenant}` }, 'entries');
    const purge = el('button', { type: 'button', class: 'small', 'data-key': `purge ${one.tenant}`, 'aria-label': `Purge what ${one.tenant} has in the cache` }, 'Purge …');
    purge.addEventListener('click', () => askPurge(one.tenant));
    return el('tr', { 'data-row': one.tenant }, el('th', { scope: 'row' }, one.tenant, one.learned ? el('span', { class: 'dim' }, ' (learned)') : null),
      cell('may ask for', may), cell('credential', granted.length > 0 ? granted[0][1].credential : '–'),
      cell('requests', [one.requests ? number(sum(one.requests)) : '–', el('div', { class: 'dim' }, outcomes || '')], { 'data-value': one.requests ? sum(one.requests) : null }),
      counted('to Talkdesk', one.upstream_requests), cell('asked last', asked), cell('cache', granted.length > 0 ? [look, ' ', purge] : '–'));
  }
  function cacheTables() {
    const { cache, status } = known, asked = status.cache_by_endpoint;
    say('cache-words', `${plural(cache.entries, 'entr').replace(/entrs?$/, cache.entries === 1 ? 'entry' : 'entries')}, ${bytes(cache.bytes)} of ${bytes(cache.max_bytes)} (${percent(cache.bytes, cache.max_bytes)}); left: ${Object.entries(status.evictions).map((one) => one.join(' ')).join(', ')}`);
    const names = [...new Set([...Object.keys(asked), ...Object.keys(cache.endpoints)])].filter((name) => name !== 'other' || sum(asked[name]) > 0).sort();
    rows('cache', names.map((name) => [name, cache.endpoints[name] || { entries: 0, bytes: 0 }, asked[name] || {}]), ([name, kept, results]) => el('tr', { 'data-row': name },
      el('th', { scope: 'row' }, name), counted('entries', kept.entries), cell('bytes', bytes(kept.bytes), { 'data-value': kept.bytes }), counted('asked', sum(results)),
      cell('hit ratio', percent(cheap(results), sum(results))), cell('results', Object.entries(results).filter((one) => one[1] > 0).map(([result, count]) => `${result} ${number(count)}`).join(', ') || '–')));
    reasonsOf('not-stored', status.not_stored);
  }

  // --- Purging and reloading: asked first -----------------------------------------------------------------------
  function purgeWords() {
    const tenant = $('purge-tenant').value.trim(), endpoint = $('purge-endpoint').value, path = $('purge-path').value.trim();
    const what = `${endpoint || 'everything'}${path ? ` below ${path}` : ''} of ${tenant || 'every tenant'}`;
    say('purge-words', $('purge-soft').checked ? `This makes ${what} stale.` : `This takes ${what} from the cache.`);
  }
  function askPurge(tenant) {
    const endpoints = [...new Set(known.tenants.flatMap((one) => Object.keys(one.endpoints)))];
    $('purge-tenants').replaceChildren(...known.tenants.map((one) => el('option', { value: one.tenant })));
    $('purge-endpoint').replaceChildren(el('option', { value: '' }, 'all'), ...endpoints.map((name) => el('option', { value: name }, name)));
    $('purge-tenant').value = tenant || '';
    $('purge-path').value = '';
    $('purge-soft').checked = false;
    $('purge-go').disabled = false;
    say('purge-cancel', 'Cancel');
    say('purge-result', '');
    purgeWords();
    $('purge').showModal();
  }
  async function doPurge() {
    $('purge-go').disabled = true;
    const query = new URLSearchParams();
    for (const [name, id] of [['tenant', 'purge-tenant'], ['endpoint', 'purge-endpoint'], ['path_prefix', 'purge-path']]) {
      const value = $(id).value.trim();
      if (value !== '') { query.set(name, value); }
    }
    if ($('purge-soft').checked) { query.set('soft', 'true'); }
    try {
      const { ok, body } = await ask(`/api/cache?${query}`, 'DELETE', 30000);
      say('purge-result', ok ? `Done: ${number(body.purged)} ${body.soft ? 'made stale' : 'taken from the cache'}.` : `Refused: ${body.detail}`);
      $('purge-go').disabled = ok;
    } catch (error) {
      say('purge-result', `It is not known whether that was done: ${error.message}`);
      $('purge-go').disabled = false;
    }
    say('purge-cancel', 'Close');
    $('purge-cancel').focus();
    update();
  }
  function askReload() {
    $('reload-result').replaceChildren();
    $('reload-go').disabled = false;
    say('reload-cancel', 'Cancel');
    $('reload').showModal();
    $('reload-cancel').focus();
  }
  async function doReload() {
    $('reload-go').disabled = true;
    const told = (words, lines, kind) => $('reload-result').replaceChildren(el('p', { class: kind }, words), el('ul', null, ...lines.map((line) => el('li', null, line))));
    try {
      const { ok, body } = await ask('/api/reload', 'POST', 60000);
      if (ok) {
        const lines = [...body.changed, ...body.secrets.map((one) => `${one.tenant}: ${one.detail}`), ...body.needs_restart.map((one) => `needs a restart: ${one}`), ...body.warnings];
        told(lines.length === 0 ? 'Reloaded. Nothing changed.' : 'Reloaded.', lines, 'good');
      } else {
        told(`Not reloaded: ${body.detail}`, body.faults || [], 'bad');
      }
    } catch (error) {
      told(`It is not known whether that was done: ${error.message}`, [], 'bad');
    }
    $('reload-go').disabled = false;
    say('reload-cancel', 'Close');
    $('reload-cancel').focus();
    update();
  }

  $('ask-purge').addEventListener('click', () => askPurge(''));
  $('ask-reload').addEventListener('click', askReload);
  $('purge-go').addEventListener('click', doPurge);
  $('reload-go').addEventListener('click', doReload);
  $('purge-cancel').addEventListener('click', () => $('purge').close());
  $('reload-cancel').addEventListener('click', () => $('reload').close());
  for (const id of ['purge-tenant', 'purge-endpoint', 'purge-path', 'purge-soft']) { $(id).addEventListener('input', purgeWords); }
  $('tenant-search').addEventListener('input', () => { lists.tenants = 0; render(); });
  $('tenant-filter').addEventListener('change', () => { lists.tenants = 0; render(); });
  $('credential-search').addEventListener('input', () => { lists.credentials = 0; render(); });
  document.addEventListener('visibilitychange', () => { if (document.hidden) { clearTimeout(timer); } else { update(); } });
  let resized = 0;
  window.addEventListener('resize', () => { cancelAnimationFrame(resized); resized = requestAnimationFrame(() => { if (known.status) { pictures(); } }); });
  for (const id of ['tenants', 'credentials', 'cache']) { $(id).classList.add('wide'); }
  update();
})();
