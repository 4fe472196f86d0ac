use std::io::BufRead as _;
use std::net::TcpListener;

use super::*;

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Answers one request per entry of `answers`, then goes.
fn serve(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = io::BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}/image")
}

fn ok(length: usize, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn run(answers: Vec<String>, hash: &str, limit: u64) -> (Result<Vec<u8>, DownloadError>, usize) {
    let directory = tempfile::tempdir().unwrap();
    let fetched = fetch_limited(&serve(answers), hash, directory.path(), limit, &mut |_, _| ());
    let bytes = fetched.map(|file| std::fs::read(file.path()).unwrap());
    (bytes, std::fs::read_dir(directory.path()).unwrap().count())
}

#[test]
fn what_was_asked_for_arrives() {
    assert_eq!(run(vec![ok(5, "hello")], HELLO, 5).0.unwrap(), b"hello");
}

#[test]
fn a_redirect_is_followed() {
    let there = serve(vec![ok(5, "hello")]);
    let moved = format!(
        "HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(run(vec![moved], HELLO, 5).0.unwrap(), b"hello");
}

#[test]
fn t29_a_wrong_hash_leaves_nothing() {
    let (result, left) = run(vec![ok(5, "hallo")], HELLO, 5);
    assert!(matches!(result, Err(DownloadError::Hash { .. })), "{result:?}");
    assert_eq!(left, 0);
}

#[test]
fn t30_f6_a_truncated_download_leaves_nothing() {
    let (result, left) = run(vec![ok(50, "hello")], HELLO, 100);
    assert!(matches!(result, Err(DownloadError::Stream { done: 5, .. })), "{result:?}");
    assert_eq!(left, 0);
}

#[test]
fn t31_a_download_ends_at_the_limit() {
    let (result, left) = run(vec![ok(5, "hello")], HELLO, 4);
    assert!(matches!(result, Err(DownloadError::TooLarge { limit: 4, .. })), "{result:?}");
    assert_eq!(left, 0);
}

#[test]
fn an_error_of_the_server_is_named() {
    let gone =
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    assert!(matches!(run(vec![gone], HELLO, 5).0, Err(DownloadError::Status { status: 404, .. })));
}
