//! Asks a running gateway one thing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Reply, Request};
use crate::limits::{CONTROL_IDLE, CONTROL_REPLY_BYTES};

/// Why the gateway could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no gateway answers at {}: {source}; is it running, and may you open the socket?", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something listens and says nothing that can be read.
    #[error("the gateway at {} did not answer: {reason}", path.display())]
    NoReply {
        /// The socket.
        path: PathBuf,
        /// What came.
        reason: String,
    },
}

/// Sends one request and waits for its reply.
///
/// # Errors
/// When nobody listens, or what comes back is no reply.
pub fn ask(path: &Path, request: &Request) -> Result<Reply, ClientError> {
    Watched::begin(path, request).map(|(reply, _)| reply)
}

/// The lines that come after a reply.
#[derive(Debug)]
pub struct Watched {
    stream: BufReader<UnixStream>,
}

impl Watched {
    /// Sends one request and waits for its reply; lines may follow.
    ///
    /// # Errors
    /// When nobody listens, or what comes back is no reply.
    pub fn begin(path: &Path, request: &Request) -> Result<(Reply, Self), ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            path: path.to_owned(),
            source,
        };
        let no_reply = |reason: String| ClientError::NoReply {
            path: path.to_owned(),
            reason,
        };
        let mut stream = UnixStream::connect(path).map_err(unreachable)?;
        stream.set_read_timeout(Some(CONTROL_IDLE)).map_err(unreachable)?;
        let mut line = serde_json::to_vec(request).map_err(|e| no_reply(e.to_string()))?;
        line.push(b'\n');
        stream.write_all(&line).map_err(|e| no_reply(e.to_string()))?;
        let mut watched = Self {
            stream: BufReader::new(stream),
        };
        let reply = watched.line().map_err(|e| no_reply(e.to_string()))?;
        if reply.is_empty() {
            return Err(no_reply("it closed the connection".to_owned()));
        }
        let told = serde_json::from_str(&reply)
            .map_err(|e| no_reply(format!("no reply in {} bytes: {e}", reply.len())))?;
        // What follows comes when it comes.
        watched
            .stream
            .get_ref()
            .set_read_timeout(None)
            .map_err(unreachable)?;
        Ok((told, watched))
    }

    /// Waits for the next line; an empty one is the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.stream)
            .take(CONTROL_REPLY_BYTES as u64)
            .read_line(&mut line)?;
        Ok(line)
    }
}
