use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::JoinHandle;

use bedplate_model::host::{Notify, Receiver, SecretReference};

use super::machine::Area;
use super::post::{ping, post};
use super::*;
use crate::pool::{Health, MemberState, MemberStatus, Resyncing, Status};

fn status(health: Health, state: MemberState) -> Status {
    let vm1 =
        MemberStatus { role: "vm1".parse().unwrap(), id: "nvme-1".into(), state, device: None };
    let next = if health == Health::Whole { vec![] } else { vec!["vm1 is missing".into()] };
    Status {
        name: "vmstore".into(),
        mount: "/mnt/vmstore".into(),
        health,
        members: vec![vm1],
        missing_devices: 0,
        resync: None,
        next,
        condition: None,
    }
}

fn whole() -> Status {
    status(Health::Whole, MemberState::InPool)
}

fn degraded() -> Status {
    status(Health::Degraded, MemberState::Missing)
}

fn notify(url: &str) -> Notify {
    Notify {
        url: Some(url.to_owned()),
        receiver: Receiver::Ntfy,
        token: None,
        mail: None,
        remind_hours: None,
        ping: None,
    }
}

fn observed(found: &[Status]) -> Observation {
    let conditions = found.iter().filter_map(observe::pools::pool_condition).collect();
    Observation { areas: [Area::Pools].into(), conditions, well: Vec::new() }
}

fn kept(path: &Path) -> Kept {
    Kept { path: path.to_owned(), spare: path.with_extension("spare") }
}

/// What is told about one state of the pool after the other.
fn told(path: &Path, found: &[Status]) -> Vec<Vec<String>> {
    let (host, notify) = (bedplate_sample::intent(), notify("http://127.0.0.1:9/x"));
    let tell_one = |status: &Status| {
        let found = observed(std::slice::from_ref(status));
        tell(&host, &notify, &found, 0, &kept(path), &mut |_, _| Ok(())).unwrap()
    };
    found.iter().map(tell_one).collect()
}

#[test]
fn f4_a_pool_that_changes_is_told_of_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("told.json");
    let mut more_errors = degraded();
    more_errors.next = vec!["2 device errors were counted".into()];
    let found =
        [whole(), whole(), degraded(), degraded(), more_errors, whole(), whole(), degraded()];
    let told: Vec<String> = told(&path, &found).into_iter().map(|all| all.join(",")).collect();
    let lost = "hypervisor: pool vmstore is DEGRADED";
    let well = "hypervisor: pool vmstore is whole again";
    assert_eq!(told, ["", "", lost, "", "", well, "", lost]);
}

#[test]
fn another_member_is_news_and_so_is_a_pool_that_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("told.json");
    let apart = status(Health::Degraded, MemberState::Apart);
    let down = status(Health::Down, MemberState::Missing);
    let told = told(&path, &[degraded(), apart, down]);
    assert_eq!(told.concat().len(), 3, "{told:?}");
}

#[test]
fn t43_a_pool_that_cannot_be_looked_at_is_told_of_by_name_and_not_at_the_first_look() {
    let unseen = Status { members: Vec::new(), ..status(Health::Unseen, MemberState::Missing) };
    let told = observe::pools::pool_condition(&unseen).unwrap();
    assert_eq!(told.title, "pool vmstore cannot be looked at");
    assert!(told.patience > 0 && told.urgent, "{told:?}");
}

#[test]
fn t43_what_was_not_taken_is_kept_shown_and_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("told.json");
    let (host, notify) = (bedplate_sample::intent(), notify("http://127.0.0.1:9/x"));
    let refuse = || {
        let url = "http://127.0.0.1".to_owned();
        let answer = "no\u{1b}[2J".to_owned();
        Err(PostError::Status { url, status: 500, answer }.into())
    };
    let both = observed(&[degraded(), Status { name: "bulk".into(), ..degraded() }]);
    let look = |send: &mut dyn FnMut(&str, &Message) -> Result<(), SendError>| {
        tell(&host, &notify, &both, 0, &kept(&path), send)
    };
    let refused = look(&mut |_, _| refuse());
    assert!(matches!(refused, Err(NotifyError::Send { .. })), "{refused:?}");
    let shown = undelivered(&kept(&path).read().unwrap(), URL).unwrap();
    assert!(shown.starts_with("2 messages have not arrived"), "{shown}");
    assert!(shown.ends_with("http://127.0.0.1 answered 500: no\\u{1b}[2J"), "{shown}");
    let mut first_only = |_: &str, message: &Message| {
        if message.title.contains("vmstore") { Ok(()) } else { refuse() }
    };
    assert!(look(&mut first_only).is_err());
    let rest = look(&mut |_, _| Ok(())).unwrap();
    assert_eq!(rest, ["hypervisor: pool bulk is DEGRADED"]);
    assert_eq!(undelivered(&kept(&path).read().unwrap(), URL), None);
}

#[test]
fn t43_an_address_that_does_not_answer_keeps_no_other_from_being_told() {
    use bedplate_tools::command::CommandError;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("told.json");
    let host = bedplate_sample::intent();
    let mail = Some("me@example.org".to_owned());
    let notify = Notify { mail, ..notify("http://127.0.0.1:9/x") };
    let both = observed(&[degraded(), Status { name: "bulk".into(), ..degraded() }]);
    let mut tried = Vec::new();
    let told = tell(&host, &notify, &both, 0, &kept(&path), &mut |channel, _| {
        tried.push(channel.to_owned());
        let limit = std::time::Duration::from_secs(60);
        let hangs = CommandError::TooLong { line: "sendmail".into(), limit };
        if channel == MAIL { Err(MailError::from(hangs).into()) } else { Ok(()) }
    });
    assert!(told.is_err());
    assert_eq!(tried, [URL, MAIL, URL], "it is waited for once");
    let state = kept(&path).read().unwrap();
    let shown = undelivered(&state, MAIL).unwrap();
    assert!(shown.starts_with("2 messages") && shown.contains("did not end"), "{shown}");
    assert_eq!(undelivered(&state, URL), None);
}

#[test]
fn t40_a_disk_that_takes_nothing_silences_nobody_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // Nothing can be made below a link that leads nowhere.
    let state = directory.path().join("state");
    std::os::unix::fs::symlink("/nowhere/at/all", &state).unwrap();
    let kept = Kept { path: state.join("told.json"), spare: directory.path().join("spare.json") };
    let (host, notify) = (bedplate_sample::intent(), notify("http://127.0.0.1:9/x"));
    let lost = observed(&[degraded()]);
    let look = |found: &Observation| {
        let mut sent = Vec::new();
        let result = tell(&host, &notify, found, 0, &kept, &mut |_, message| {
            sent.push(message.title.clone());
            Ok(())
        });
        (sent, result.is_ok())
    };
    assert_eq!(look(&lost), (vec!["hypervisor: pool vmstore is DEGRADED".to_owned()], false));
    assert_eq!(look(&lost), (Vec::new(), false), "it was told");
    fs::remove_file(&state).unwrap();
    assert_eq!(look(&lost), (Vec::new(), true));
    assert!(!kept.spare.exists() && kept.path.exists());
    assert_eq!(look(&observed(&[whole()])).0.len(), 1);
}

/// Answers one request with `answer`; returns what was asked.
fn serve(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/topic", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut text, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(given) = line.to_lowercase().strip_prefix("content-length:") {
                length = given.trim().parse().unwrap();
            }
            text += &line;
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        text + &String::from_utf8(body).unwrap()
    });
    (url, asked)
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn repository() -> Repository {
    Repository::of(&bedplate_sample::intent())
}

fn message() -> Message {
    Message {
        condition: "pool vmstore".into(),
        event: Event::Raised,
        title: "hv: a title".into(),
        text: "line one\nline two".into(),
        urgent: true,
        at: 7,
    }
}

fn token(directory: &Path, content: &str, mode: u32) -> Option<SecretReference> {
    let path = directory.join("token");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    Some(SecretReference::File(path.display().to_string()))
}

fn sent(notify: &Notify) -> Result<(), PostError> {
    let url = notify.url.clone().unwrap();
    post(notify, &url, &bedplate_sample::intent(), &repository(), &message())
}

#[test]
fn a_webhook_gets_a_json_object_and_a_ping_a_get() {
    let (url, asked) = serve(TAKEN);
    sent(&Notify { receiver: Receiver::Webhook, ..notify(&url) }).unwrap();
    let asked = asked.join().unwrap();
    let (_, body) = asked.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    insta::assert_json_snapshot!(body);
    let (url, asked) = serve(TAKEN);
    ping(&url).unwrap();
    assert!(asked.join().unwrap().starts_with("GET /topic HTTP/1.1\r\n"));
}

#[test]
fn a_message_is_posted_as_ntfy_takes_it_with_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let token = token(directory.path(), "tk_canary\n", 0o600);
    let (url, asked) = serve(TAKEN);
    sent(&Notify { token, ..notify(&url) }).unwrap();
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /topic HTTP/1.1\r\n"), "{asked}");
    let head = asked.to_lowercase();
    for line in ["title: hv: a title", "priority: high", "authorization: bearer tk_canary"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
    }
    assert!(asked.ends_with("\r\n\r\nline one\nline two"), "{asked}");
}

#[test]
fn t43_a_refusal_and_a_redirect_are_failures() {
    for (answer, status) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 403),
        (
            "HTTP/1.1 302 Drifted\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            302,
        ),
    ] {
        let (url, asked) = serve(answer);
        let refused = sent(&notify(&url));
        let is_status = matches!(refused, Err(PostError::Status { status: s, .. }) if s == status);
        assert!(is_status, "{refused:?}");
        asked.join().unwrap();
    }
}

#[test]
fn t19_a_token_that_others_can_read_is_not_sent_and_none_is_ever_shown() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there: a token that is refused is refused before anything is sent.
    let refused = |content: &str, mode| {
        let token = token(directory.path(), content, mode);
        sent(&Notify { token, ..notify("http://127.0.0.1:9/x") }).unwrap_err()
    };
    assert!(matches!(refused("tk_canary", 0o640), PostError::Exposed(_)));
    for content in ["", "tk_canary\nX-Other: 1", "tk canary"] {
        let error = refused(content, 0o600);
        assert!(matches!(error, PostError::NoToken(_)), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
    }
    let error = refused("tk_canary", 0o600);
    assert!(matches!(error, PostError::Request { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
}

#[test]
fn t45_a_partition_that_does_not_boot_is_told_until_it_is_mended() {
    let broken =
        bedplate_resources::status::Status::unseen("esp", Some("os".into()), "not mounted".into());
    let condition = observe::boot::boot_condition(&broken).unwrap();
    assert!(condition.urgent && condition.text.contains("not mounted"), "{condition:?}");
    assert!(condition.title.contains("the EFI system partition on os"), "{condition:?}");
    let well = bedplate_resources::status::Status { agrees: true, ..broken };
    assert_eq!(observe::boot::boot_condition(&well), None);
}

#[test]
fn t43_what_the_receiver_says_is_shown_and_a_long_message_fits_it() {
    const REFUSED: &str = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 42\r\nConnection: close\r\n\r\n\
                           {\"code\":41301,\"error\":\"attachment too large";
    let (url, asked) = serve(REFUSED);
    let text = format!("{}ö", "line\n".repeat(2000));
    let title = format!("hv: \u{1b}{}", "t".repeat(5000));
    let long = Message { text, title, ..message() };
    let refused = post(&notify(&url), &url, &bedplate_sample::intent(), &repository(), &long);
    let told = refused.unwrap_err().to_string();
    assert!(told.contains(" answered 413: {") && told.contains("attachment too lar"), "{told}");
    let asked = asked.join().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(body.len() <= 4096 && body.ends_with("shows all of it)"), "{}", body.len());
    assert!(head.lines().all(|line| line.len() < 300), "{head}");
}

#[test]
fn t44_a_disk_that_is_brought_up_to_date_is_told_once_and_not_with_each_percent() {
    let under_way = |percent| Status {
        resync: Some(Resyncing { role: "vm1".parse().unwrap(), percent: Some(percent) }),
        ..status(Health::Degraded, MemberState::Resyncing)
    };
    let condition = |status: &Status| observe::pools::pool_condition(status).unwrap();
    let (begun, later) = (condition(&under_way(3)), condition(&under_way(70)));
    assert_eq!(begun.kind, later.kind);
    assert!(begun.text.contains("RESYNCING 3 %"), "{}", begun.text);
    assert_ne!(begun.kind, condition(&status(Health::Degraded, MemberState::Behind)).kind);
    assert_ne!(begun.kind, condition(&degraded()).kind);
}
