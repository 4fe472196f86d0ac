//! HTTP and HTTPS as this program speaks them: with limits, and one provider of ciphers.

use std::time::Duration;

use reqwest::blocking::{Client, ClientBuilder};

/// A client to be built, whose other side may take `silence` for connecting and for each answer.
pub fn builder(silence: Duration) -> ClientBuilder {
    // One that is there already is the same one.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().connect_timeout(silence).timeout(silence)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use reqwest::Certificate;

    use super::*;

    /// `openssl s_server` with a certificate of its own for `localhost`.
    struct Server(Child, u16);

    impl Server {
        fn start(place: &Path) -> Self {
            let (key, certificate) = (place.join("key"), place.join("certificate"));
            let mut request = Command::new("openssl");
            request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
            request.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
            request.args(["-addext", "subjectAltName=DNS:localhost"]);
            request.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key);
            let made = request.arg("-out").arg(&certificate).stderr(Stdio::null()).status();
            assert!(made.unwrap().success());
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut server = Command::new("openssl");
            server.args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
            server.arg("-key").arg(&key).arg("-cert").arg(&certificate);
            let child = server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            let begun = Instant::now();
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(begun.elapsed() < Duration::from_secs(60), "openssl does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
            Self(child, port)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn https_is_spoken_with_a_server_whose_certificate_is_known_and_with_no_other() {
        let place = tempfile::tempdir().unwrap();
        let server = Server::start(place.path());
        let url = format!("https://localhost:{}/", server.1);
        let builder = || builder(Duration::from_secs(60));
        let error = builder().build().unwrap().get(&url).send().unwrap_err();
        let first: &dyn std::error::Error = &error;
        let chain = std::iter::successors(Some(first), |error| error.source());
        let said: String = chain.map(ToString::to_string).collect();
        assert!(said.contains("certificate"), "{said}");

        let pem = std::fs::read(place.path().join("certificate")).unwrap();
        let known = Certificate::from_pem(&pem).unwrap();
        let client = builder().tls_certs_only([known]).build().unwrap();
        assert!(client.get(&url).send().unwrap().status().is_success());
    }
}
