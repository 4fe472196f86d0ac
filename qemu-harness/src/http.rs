//! A small HTTP server on the loopback, which a guest reaches at [`crate::machine::HOST_ADDRESS`].
//!
//! It serves named files and remembers every request, so that a guest can report by asking.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::HarnessError;
use crate::pace::Patience;
use crate::watch::Watch;

/// Longest request head that is read, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Longest body that is read, in bytes.
const BODY_LIMIT: u64 = 64 * 1024;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method of HTTP as it was sent, such as `GET`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// What came with it.
    pub body: String,
    /// The value of its `Authorization`; empty without one.
    pub authorization: String,
    /// Who asked, as seen from here.
    pub peer: SocketAddr,
    /// When, since the server was started.
    pub at: Duration,
}

/// The running server; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    files: Watch<BTreeMap<String, PathBuf>>,
    requests: Watch<Vec<Request>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Starts on `port` of 127.0.0.1, or on a free one when it is 0.
    pub fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let server = Self {
            address: listener.local_addr()?,
            files: Watch::default(),
            requests: Watch::default(),
            stop: Arc::default(),
        };
        let (files, requests) = (server.files.clone(), server.requests.clone());
        let (stop, begun) = (Arc::clone(&server.stop), Instant::now());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (files, requests) = (files.clone(), requests.clone());
                // A client that goes away spoils only its own request.
                std::thread::spawn(move || serve(stream, &files, &requests, begun).ok());
            }
        });
        Ok(server)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves `file` at `path`.
    pub fn offer(&self, path: &str, file: PathBuf) {
        self.files.change(|files| files.insert(path.to_owned(), file));
    }

    /// Everything asked for so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.look(Clone::clone)
    }

    /// The first request for `path` (whatever its query), waited for up to `limit`, and longer where
    /// this machine is slow.
    pub fn wait_for(&self, path: &str, limit: Duration) -> Result<Request, HarnessError> {
        let wanted = |request: &Request| request.target.split('?').next() == Some(path);
        self.wait_while(path, limit, 0, wanted, || 0)
    }

    /// The first request behind the first `before` that `wanted` accepts, waited for as by
    /// [`Server::wait_for`], and longer while `progress` grows. `what` names it in an error.
    pub fn wait_while(
        &self,
        what: &str,
        limit: Duration,
        before: usize,
        wanted: impl Fn(&Request) -> bool,
        mut progress: impl FnMut() -> u64,
    ) -> Result<Request, HarnessError> {
        let mut patience = Patience::new(limit);
        loop {
            let found = self.requests.wait(patience.next_look(), |requests| {
                requests.iter().skip(before).find(|request| wanted(request)).cloned()
            });
            if let Some(found) = found {
                return Ok(found);
            }
            if !patience.goes_on(progress()) {
                let seen = self.requests.look(|requests| requests.last().cloned());
                let seen = seen.map_or_else(|| "no request at all".to_owned(), |last| last.target);
                let (what, spent) = (what.to_owned(), patience.spent());
                return Err(HarnessError::NoRequest { what, spent, seen });
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; when that fails, it is gone already.
        TcpStream::connect(self.address).ok();
    }
}

fn serve(
    stream: TcpStream,
    files: &Watch<BTreeMap<String, PathBuf>>,
    requests: &Watch<Vec<Request>>,
    begun: Instant,
) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (first, fields) = head(&mut reader)?;
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let length = field("content-length").parse::<u64>().unwrap_or(0).min(BODY_LIMIT);
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let authorization = field("authorization");
    let mut words = first.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
    let path = target.split('?').next().unwrap_or_default();
    let file = files.look(|files| files.get(path).cloned());
    let (method, target) = (method.to_owned(), target.to_owned());
    let head_only = method == "HEAD";
    let at = begun.elapsed();
    let request = Request { method, target, body, authorization, peer, at };
    requests.change(|all| all.push(request));
    answer(stream, file, head_only)
}

/// The first line, and the fields below it by their name in lower case.
fn head(reader: &mut impl BufRead) -> io::Result<(String, BTreeMap<String, String>)> {
    let mut reader = reader.take(HEAD_LIMIT as u64);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut fields = BTreeMap::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some((name, value)) = line.split_once(':') {
            fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        line.clear();
    }
    Ok((first, fields))
}

/// A path without a file is a report: it is answered with an empty 200, so that `wget` is content.
fn answer(mut stream: TcpStream, file: Option<PathBuf>, head_only: bool) -> io::Result<()> {
    let Some(path) = file else {
        return stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    if !head_only {
        io::copy(&mut file, &mut stream)?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(port: u16, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn it_serves_files_and_remembers_requests() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        std::fs::write(&file, "content").unwrap();
        let server = Server::start(0).unwrap();
        server.offer("/a", file);
        assert!(get(server.port(), "/a").ends_with("\r\n\r\ncontent"));
        assert!(get(server.port(), "/up?ip=1.2.3.4").starts_with("HTTP/1.1 200"));
        let request = server.wait_for("/up", Duration::from_secs(5)).unwrap();
        assert_eq!(request.target, "/up?ip=1.2.3.4");
        let never = server.wait_for("/never", Duration::from_millis(5)).unwrap_err().to_string();
        assert!(never.starts_with("timed out after "), "{never}");
        assert!(never.ends_with("waiting for /never; last seen: /up?ip=1.2.3.4"));
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let head = "POST /told HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 4\r\n\r\n";
        write!(stream, "{head}news").unwrap();
        let request = server.wait_for("/told", Duration::from_secs(5)).unwrap();
        assert_eq!((request.body.as_str(), request.authorization.as_str()), ("news", "Bearer x"));
        assert_eq!(server.requests().len(), 3);
    }
}
