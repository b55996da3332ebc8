//! Listens on the control socket and hands requests to the event loop.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Problem, ProblemKind, Reply, Request};
use crate::limits::{CONTROL_CLIENTS, CONTROL_IDLE, CONTROL_LINE_BYTES, CONTROL_LINES};

/// A request on its way to the event loop.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the reply goes.
    pub reply: oneshot::Sender<Reply>,
    /// Where what comes after it goes, for who wants to watch.
    pub lines: Option<mpsc::Sender<Json>>,
}

impl Call {
    /// Returns a question, and where its reply comes.
    pub fn new(request: Request) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        let call = Self {
            request,
            reply,
            lines: None,
        };
        (call, answer)
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another gateway listens there.
    #[error("another gateway listens on {}: stop it first, or set control_socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot make the control socket {}: {source}; set control_socket to a path you may write to", path.display())]
    Failed {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A control socket that is listened on; its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket, in place of one that a killed gateway left behind.
    ///
    /// # Errors
    /// When another gateway listens there, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Failed {
            path: path.to_owned(),
            source,
        };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(ControlError::InUse {
                path: path.to_owned(),
            });
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(failed(io::Error::other("something that is no socket is there"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves clients until the receiver of the calls is gone.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        let free = Arc::new(Semaphore::new(CONTROL_CLIENTS));
        let mut clients = JoinSet::new();
        loop {
            let Ok(seat) = free.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = calls.closed() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let calls = calls.clone();
                    clients.spawn(async move {
                        serve_client(stream, calls).await;
                        drop(seat);
                    });
                }
                Err(error) => warn!(%error, "the control socket refuses clients"),
            }
            while clients.try_join_next().is_some() {}
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // One that is gone already is as good.
        fs::remove_file(&self.path).ok();
    }
}

async fn serve_client(stream: UnixStream, calls: mpsc::Sender<Call>) {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reading).take(CONTROL_LINE_BYTES as u64);
        match timeout(CONTROL_IDLE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        if line.len() >= CONTROL_LINE_BYTES && !line.ends_with(b"\n") {
            write(&mut writing, &too_long()).await;
            return;
        }
        let (reply, lines) = answer(&line, &calls).await;
        if !write(&mut writing, &reply).await {
            return;
        }
        if let Some(lines) = lines {
            return stream_lines(lines, &mut reading, &mut writing).await;
        }
    }
}

/// Writes what comes until there is nothing more, or the client leaves or says anything.
async fn stream_lines(
    mut lines: mpsc::Receiver<Json>,
    reading: &mut BufReader<OwnedReadHalf>,
    writing: &mut OwnedWriteHalf,
) {
    let mut byte = [0];
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = reading.read(&mut byte) => return,
        };
        let Some(line) = line else { return };
        if !write(writing, &line).await {
            return;
        }
    }
}

/// Writes one line; says whether that was possible.
async fn write(writing: &mut OwnedWriteHalf, what: &impl Serialize) -> bool {
    let Ok(mut text) = serde_json::to_vec(what) else {
        return false;
    };
    text.push(b'\n');
    matches!(timeout(CONTROL_IDLE, writing.write_all(&text)).await, Ok(Ok(())))
}

/// Has a request answered; who wants to watch gets more than the reply, if that is a good one.
async fn answer(line: &[u8], calls: &mpsc::Sender<Call>) -> (Reply, Option<mpsc::Receiver<Json>>) {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => {
            debug!(%error, "a control client sent what is no request");
            let problem = Problem::new(ProblemKind::BadRequest, format!("no request: {error}"));
            return (Reply::Error(problem), None);
        }
    };
    let watches = matches!(request, Request::Trace { .. });
    let (mut call, answered) = Call::new(request);
    let (sender, lines) = mpsc::channel(CONTROL_LINES);
    call.lines = watches.then_some(sender);
    let stopping = || Reply::Error(Problem::new(ProblemKind::Busy, "the gateway is stopping"));
    if calls.send(call).await.is_err() {
        return (stopping(), None);
    }
    let reply = answered.await.unwrap_or_else(|_| stopping());
    let lines = (watches && matches!(reply, Reply::Ok(_))).then_some(lines);
    (reply, lines)
}

fn too_long() -> Reply {
    let message = format!("a request has at most {CONTROL_LINE_BYTES} bytes");
    Reply::Error(Problem::new(ProblemKind::BadRequest, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{BufRead, Write};

    /// Sends a line to a server whose event loop answers every request with `true`.
    fn exchange(line: &'static [u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let socket = ControlSocket::bind(&path).unwrap();
            let (calls, mut received) = mpsc::channel::<Call>(1);
            tokio::spawn(socket.serve(calls));
            let client = tokio::task::spawn_blocking(move || {
                let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
                stream.write_all(line).unwrap();
                let mut reply = String::new();
                io::BufReader::new(stream).read_line(&mut reply).unwrap();
                reply
            });
            let answer = async {
                while let Some(call) = received.recv().await {
                    call.reply.send(Reply::Ok(json!(true))).unwrap();
                }
            };
            tokio::select! {
                reply = client => reply.unwrap(),
                () = answer => unreachable!("the server keeps its sender"),
            }
        })
    }

    #[test]
    fn a_request_is_answered_on_one_line() {
        assert_eq!(exchange(b"{\"command\":\"status\"}\n"), "{\"ok\":true}\n");
    }

    #[test]
    fn an_unknown_command_is_refused() {
        assert!(exchange(b"{\"command\":\"reboot\"}\n").contains("bad-request"));
    }

    #[test]
    fn a_request_beyond_the_bound_is_refused() {
        static LINE: [u8; CONTROL_LINE_BYTES] = [b' '; CONTROL_LINE_BYTES];
        assert!(exchange(&LINE).contains("at most 16384 bytes"));
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_the_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(ControlError::InUse { .. })
        ));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, "kept").unwrap();
        let error = ControlSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn one_client_more_than_the_bound_waits_until_another_leaves() {
        use std::os::unix::net::UnixStream as Client;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let (calls, mut received) = mpsc::channel::<Call>(1);
        let inside = runtime.enter();
        let socket = ControlSocket::bind(&path).unwrap();
        drop(inside);
        runtime.spawn(socket.serve(calls));
        runtime.spawn(async move {
            while let Some(call) = received.recv().await {
                call.reply.send(Reply::Ok(json!(true))).unwrap();
            }
        });
        let ask = |client: &mut Client| client.write_all(b"{\"command\":\"status\"}\n").unwrap();
        let hear = |client: &Client| {
            let mut reply = String::new();
            io::BufReader::new(client).read_line(&mut reply).map(|_| reply)
        };
        let mut clients: Vec<Client> = (0..=CONTROL_CLIENTS)
            .map(|_| Client::connect(&path).unwrap())
            .collect();
        let mut last = clients.pop().unwrap();
        for client in &mut clients {
            ask(client);
            assert_eq!(hear(client).unwrap(), "{\"ok\":true}\n");
        }
        ask(&mut last);
        last.set_nonblocking(true).unwrap();
        assert_eq!(hear(&last).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        last.set_nonblocking(false).unwrap();
        clients.pop();
        assert_eq!(hear(&last).unwrap(), "{\"ok\":true}\n");
    }
}
