//! Runs a [`Line`] on a pseudo-terminal, so that a program can open it as its serial port.
//!
//! A pseudo-terminal has no speed: the bytes are paced here, as well as a timer of a millisecond allows.

use std::io;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_serial::{SerialPort, SerialStream};

use super::Line;

/// A line that runs: it stops, and its pseudo-terminal goes away, when its last [`Handle`] is dropped.
#[derive(Debug)]
pub struct Running {
    /// What to open as a serial port, for example `/dev/pts/7`.
    pub path: String,
    /// Gives orders.
    pub handle: Handle,
}

/// Gives orders to a running line.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

type Order = Box<dyn FnOnce(&mut Line) + Send>;

/// Opens a pseudo-terminal and runs the line on it, in a task of the current runtime.
///
/// # Errors
/// When the system has no pseudo-terminal to give.
pub fn start(line: Line) -> io::Result<Running> {
    let (ours, theirs) = SerialStream::pair()?;
    let path = theirs
        .name()
        .ok_or_else(|| io::Error::other("the pseudo-terminal has no name"))?;
    let (orders, inbox) = mpsc::channel(16);
    tokio::spawn(run(line, ours, theirs, inbox));
    Ok(Running {
        path,
        handle: Handle { orders },
    })
}

impl Handle {
    /// Does something with the line between two bytes; returns none where the line was stopped.
    pub async fn with<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Line) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let order: Order = Box::new(move |line| {
            // Whoever asked may have gone; then there is nobody to tell.
            drop(reply.send(order(line)));
        });
        self.orders.send(order).await.ok()?;
        answer.await.ok()
    }
}

/// Keeps `_theirs` open: else the line would break each time the program closes its port.
async fn run(
    mut line: Line,
    mut ours: SerialStream,
    _theirs: SerialStream,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut buffer = [0; 1024];
    loop {
        let due = line.poll_timeout().map(tokio::time::Instant::from_std);
        tokio::select! {
            read = ours.read(&mut buffer) => match read {
                Ok(count) => line.handle_bytes(&buffer[..count], Instant::now()),
                Err(_) => return,
            },
            order = orders.recv() => match order {
                Some(order) => order(&mut line),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                let now = Instant::now();
                line.handle_timeout(now);
                if let Some(bytes) = line.poll_bytes(now) {
                    // A line does not wait for whoever does not listen: what does not fit is lost.
                    drop(ours.try_write(&bytes));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio_serial::SerialPortBuilderExt;

    use super::*;
    use crate::modbus_unit::{Unit, rtu};

    async fn ask(port: &mut SerialStream, pdu: &[u8], answer_length: usize) -> Vec<u8> {
        port.write_all(&rtu::frame(1, pdu)).await.unwrap();
        let mut answer = vec![0; answer_length];
        let read = tokio::time::timeout(Duration::from_secs(10), port.read_exact(&mut answer));
        read.await.expect("the unit answers").unwrap();
        answer
    }

    #[tokio::test]
    async fn a_unit_answers_whoever_opens_the_port_also_after_it_was_closed() {
        let line = Line::new(9600, 10, 1, Instant::now()).with_unit(Unit::sdm630(1));
        let running = start(line).unwrap();
        for _ in 0..2 {
            let mut port = tokio_serial::new(running.path.as_str(), 9600)
                .open_native_async()
                .unwrap();
            let answer = ask(&mut port, &[0x04, 0x00, 0x00, 0x00, 0x02], 9).await;
            assert_eq!(rtu::open(&answer).unwrap().1[..2], [0x04, 0x04]);
        }
        assert_eq!(
            running.handle.with(|line| line.counters().requests).await,
            Some(2)
        );
    }
}
