//! Writes log lines off the request path: a bounded queue and a writer thread.
//!
//! A caller queues a record and continues. The thread formats and writes the line. If the queue is full or the
//! sink rejects the line, the record is dropped and counted, so a slow disk or pipe never blocks a request.
//!
//! Lines are flushed whole, when the queue is empty or the buffer is full. Two processes that append to the same
//! file therefore do not mix within a line, and no line waits for the next one.
//!
//! Waking a thread costs a system call and a context switch from the serving thread, more than the record itself.
//! After writing, the thread therefore sleeps for ten milliseconds before it checks the queue again, and it blocks
//! only when the queue was empty then. A line is late by at most that time; the first line after an idle period is
//! not late.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use prometheus::IntCounter;

/// The handle to a log.
pub struct LineWriter<R> {
    queue: SyncSender<Item<R>>,
    dropped: IntCounter,
}

enum Item<R> {
    Record(R),
    /// Reports when every earlier item has been written.
    Mark(Sender<()>),
}

/// Capacity of the queue, in records: what 800,000 requests per second add while the thread sleeps.
const QUEUE: usize = 8_192;

/// How long the thread sleeps after it has written.
const PAUSE: Duration = Duration::from_millis(10);

impl<R: Send + 'static> LineWriter<R> {
    /// Starts the writer thread. `form` appends the line of a record, with its line end, to a buffer.
    ///
    /// # Errors
    /// If the system can't create a thread.
    pub fn start(
        name: &str,
        sink: impl Write + Send + 'static,
        dropped: IntCounter,
        form: impl FnMut(&R, &mut Vec<u8>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        let counter = dropped.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(BufWriter::new(sink), &records, &counter, form))?;
        Ok(Self { queue, dropped })
    }

    /// Queues a record; drops and counts it if the queue is full.
    pub fn write(&self, record: R) {
        if self.queue.try_send(Item::Record(record)).is_err() {
            self.dropped.inc();
        }
    }

    /// Blocks until all records queued so far are written, but at most for `timeout`. For use at shutdown.
    pub fn finish(&self, timeout: Duration) {
        let (mark, reached) = channel();
        let queue = self.queue.clone();
        // Use a separate thread: sending the mark blocks while the queue is full.
        let sending = std::thread::Builder::new().spawn(move || queue.send(Item::Mark(mark)));
        if sending.is_ok() {
            let _ = reached.recv_timeout(timeout);
        }
    }
}

impl<R> Clone for LineWriter<R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), dropped: self.dropped.clone() }
    }
}

fn write_all<R>(
    mut sink: BufWriter<impl Write>,
    records: &Receiver<Item<R>>,
    dropped: &IntCounter,
    mut form: impl FnMut(&R, &mut Vec<u8>),
) {
    let mut line = Vec::new();
    while let Ok(first) = records.recv() {
        let mut next = Some(first);
        while let Some(first) = next {
            write_queued(first, &mut sink, records, dropped, &mut form, &mut line);
            // During this sleep a sender finds no blocked receiver to wake, so sending needs no system call.
            std::thread::sleep(PAUSE);
            next = records.try_recv().ok();
        }
    }
}

fn write_queued<R>(
    first: Item<R>,
    sink: &mut BufWriter<impl Write>,
    records: &Receiver<Item<R>>,
    dropped: &IntCounter,
    form: &mut impl FnMut(&R, &mut Vec<u8>),
    line: &mut Vec<u8>,
) {
    let mut reached = Vec::new();
    let mut next = Some(first);
    while let Some(item) = next {
        match item {
            Item::Record(record) => {
                line.clear();
                form(&record, line);
                // A sink that was closed, or a full disk, must not stop the proxy.
                if sink.write_all(line).is_err() {
                    dropped.inc();
                }
            }
            Item::Mark(mark) => reached.push(mark),
        }
        next = records.try_recv().ok();
    }
    let _ = sink.flush();
    for mark in reached {
        let _ = mark.send(());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A sink that stores what is written; it blocks while it is locked, and fails if it is broken.
    #[derive(Clone, Default)]
    struct Sink {
        taken: Arc<Mutex<Vec<u8>>>,
        blocked: Arc<Mutex<()>>,
        broken: bool,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _unblocked = self.blocked.lock().expect("no panic");
            if self.broken {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SOON: Duration = Duration::from_secs(10);

    fn writer(sink: Sink) -> (LineWriter<String>, IntCounter) {
        let dropped = IntCounter::new("dropped", "dropped").expect("a counter");
        let form = |record: &String, line: &mut Vec<u8>| line.extend(format!("{record}\n").bytes());
        (LineWriter::start("test", sink, dropped.clone(), form).expect("a thread"), dropped)
    }

    #[test]
    fn finish_returns_after_all_queued_records_are_written_in_order() {
        let sink = Sink::default();
        let (writer, dropped) = writer(sink.clone());
        for number in 0..1_000 {
            writer.write(format!("line {number}"));
        }
        writer.finish(SOON);
        let text = String::from_utf8(sink.taken.lock().expect("no panic").clone()).expect("text");
        let expected = (0..1_000).map(|number| format!("line {number}"));
        assert!(text.lines().eq(expected), "{text:.300}");
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_blocked_sink_does_not_block_writers_and_dropped_records_are_counted() {
        let sink = Sink::default();
        let (writer, dropped) = writer(sink.clone());
        let blocked = sink.blocked.lock().expect("no panic");
        // More records than the queue and all buffers hold.
        for _ in 0..2 * QUEUE {
            writer.write("a".repeat(100));
        }
        assert!(dropped.get() > 0);
        writer.finish(Duration::from_millis(10));
        drop(blocked);
        writer.finish(SOON);
        let text = String::from_utf8(sink.taken.lock().expect("no panic").clone()).expect("text");
        let written = text.lines().count();
        assert_eq!(written as u64 + dropped.get(), 2 * QUEUE as u64, "every line is written or counted");
    }

    #[test]
    fn records_that_a_full_disk_rejects_are_counted() {
        let (writer, dropped) = writer(Sink { broken: true, ..Sink::default() });
        for _ in 0..1_000 {
            writer.write("a".repeat(100));
        }
        writer.finish(SOON);
        assert!(dropped.get() > 900, "{}", dropped.get());
    }
}
