//! Real git against a real TLS server, which serves the files of a repository.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use super::*;

/// `openssl s_server`, ended when it is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Serves the files below `root` with the key and certificate there.
    fn start(root: &Path) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-WWW", "-accept", "127.0.0.1:0"]).current_dir(root);
        command.args(["-key", "key.pem", "-cert", "cert.pem"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("this test wants openssl");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            line.unwrap().strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.parse().ok()
        });
        // What it says later is read, so that it does not stop for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port: port.unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a certificate that has signed itself, and its key.
fn sign_itself(place: &Path, name: &str, certificate: &str, key: &str) {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(place).args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", certificate]);
    openssl.args(["-subj", &format!("/CN={name}")]);
    openssl.args(["-addext", &format!("subjectAltName=DNS:{name}")]).run().unwrap();
}

/// The fixture with a certificate for `localhost`, and the key's pin.
fn with_certificate() -> (Fixture, String) {
    let fixture = Fixture::new();
    let place = fixture.at(".");
    sign_itself(&place, "localhost", "cert.pem", "key.pem");
    let script = "openssl pkey -in key.pem -pubout -outform DER | openssl dgst -sha256 -binary | openssl base64";
    let pin = Command::new("sh").current_dir(&place).args(["-c", script]).read().unwrap();
    // A server of files, which is all that s_server is: the question behind the name is part of it.
    fixture.publish_crafted();
    let server = fixture.at("infra.git");
    Command::new("git").arg("-C").arg(&server).arg("update-server-info").run().unwrap();
    let names = server.join("info");
    fs::copy(names.join("refs"), names.join("refs?service=git-upload-pack")).unwrap();
    (fixture, format!("sha256//{}", pin.trim()))
}

fn https(
    fixture: &Fixture,
    port: u16,
    pinned_key: &str,
    certificate: Option<&str>,
) -> RepositoryPlace {
    let certificate = certificate.map(|name| fixture.remote.read(name));
    let url = format!("https://localhost:{port}/infra.git");
    RepositoryPlace::Https(HttpsSource { url, pinned_key: pinned_key.to_owned(), certificate })
}

#[test]
fn t11_over_https_only_the_pinned_key_behind_a_trusted_certificate_is_fetched_from() {
    let (fixture, pin) = with_certificate();
    let server = Server::start(&fixture.at("."));
    let at = |pin: &str, certificate| https(&fixture, server.port, pin, certificate);
    fixture.fetch("main", &at(&pin, Some("cert.pem"))).unwrap();
    let head = fixture.git(&["rev-parse", "HEAD"]);
    let bundle = fixture.at("fetched").join(BUNDLE_FILE);
    assert_eq!(Reader::branches_of_bundle(&bundle).unwrap(), [("main".to_owned(), head)]);

    let error = told(&fixture.fetch("crafted", &at(&pin, Some("cert.pem"))).unwrap_err());
    assert!(error.contains("its objects are refused"), "{error}");
    assert!(!bundle.exists());

    let wrong = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let error = told(&fixture.fetch("main", &at(wrong, Some("cert.pem"))).unwrap_err());
    assert!(error.contains("public key does not match pinned public key"), "{error}");
    assert!(!bundle.exists());
    // The public authorities have not signed it.
    let error = told(&fixture.fetch("main", &at(&pin, None)).unwrap_err());
    assert!(error.contains("certificate"), "{error}");
    // Nor has another certificate.
    fs::rename(fixture.at("cert.pem"), fixture.at("mine.pem")).unwrap();
    sign_itself(&fixture.at("."), "other", "cert.pem", "other.key");
    let error = told(&fixture.fetch("main", &at(&pin, Some("cert.pem"))).unwrap_err());
    assert!(error.contains("certificate"), "{error}");
    fixture.fetch("main", &at(&pin, Some("mine.pem"))).unwrap();
}
