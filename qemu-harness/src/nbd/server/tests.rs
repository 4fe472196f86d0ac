use std::process::Command;

use super::*;
use crate::machine::DiskKind;
use crate::nbd::cut::{Cut, Unflushed};
use crate::nbd::log::{Action, WriteLog};

const SIZE: u64 = 8 << 20;

fn disks(directory: &Path) -> Vec<Disk> {
    let disk = |role: &str| {
        let file = directory.join(format!("{role}.img"));
        File::create(&file).unwrap().set_len(SIZE).unwrap();
        Disk {
            role: role.to_owned(),
            kind: DiskKind::VirtioBlk,
            serial: role.to_owned(),
            size: SIZE,
            file,
            format: Format::Raw,
            read_only: false,
            boot_index: None,
        }
    };
    vec![disk("a"), disk("b")]
}

/// QEMU's own client.
fn qemu_io(socket: &Path, name: &str, commands: &[&str]) -> String {
    let mut command = Command::new("qemu-io");
    // The cache mode of a machine's disks, so that nothing is flushed but where it is asked for.
    command.args(["-t", "none", "-d", "unmap"]);
    for one in commands {
        command.args(["-c", one]);
    }
    let options = format!(
        "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={},file.export={name}",
        socket.display()
    );
    let output = command.args(["--image-opts", &options]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn f1_what_qemu_writes_is_logged_in_order_and_a_cut_keeps_what_was_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let disks = disks(directory.path());
    let (socket, log) = (directory.path().join("s"), directory.path().join("log"));
    let server = Server::start(&socket, &disks, &log).unwrap();
    qemu_io(&socket, "a", &["write -P 1 0 4k", "flush", "write -P 2 0 4k", "write -f -P 3 8k 512"]);
    let after_a = server.position();
    qemu_io(&socket, "b", &["write -P 4 1M 64k", "write -z -u 1M 4k", "discard 1052672 4k"]);
    let read = qemu_io(&socket, "b", &["read -v 1M 512", "read -P 4 1056768 4k"]);
    assert!(read.contains("00 00 00") && !read.contains("verification failed"), "{read}");
    server.stop().unwrap();

    let log = WriteLog::open(&log).unwrap();
    let kinds: Vec<(u16, char, u64, u64)> = log
        .entries()
        .iter()
        .map(|entry| {
            let kind = match entry.action {
                Action::Write { .. } if entry.fua => 'f',
                Action::Write { .. } => 'w',
                Action::Zero => 'z',
                Action::Trim => 't',
                Action::Flush => 'F',
            };
            (entry.disk, kind, entry.offset, entry.length)
        })
        .collect();
    let written: Vec<_> = kinds.iter().filter(|(_, kind, ..)| *kind != 'F').copied().collect();
    assert_eq!(
        written,
        [
            (0, 'w', 0, 4096),
            (0, 'w', 0, 4096),
            (0, 'f', 8192, 512),
            (1, 'w', 1 << 20, 64 << 10),
            (1, 'z', 1 << 20, 4096),
            (1, 't', 1_052_672, 4096),
        ]
    );
    assert_eq!(kinds[1], (0, 'F', 0, 0), "the flush stands between the writes: {kinds:?}");

    // The power goes when disk a has had four requests, and its cache is lost.
    let fresh = |name: &str| {
        let path = directory.path().join(name);
        let file = File::options().create_new(true).read(true).write(true).open(path).unwrap();
        file.set_len(SIZE).unwrap();
        file
    };
    let replayed = [fresh("a.cut"), fresh("b.cut")];
    assert!(after_a >= 4);
    log.replay(Cut { position: 4, unflushed: Unflushed::Lost }, &replayed).unwrap();
    let byte = |file: &File, offset| {
        let mut byte = [0xff];
        file.read_exact_at(&mut byte, offset).unwrap();
        byte[0]
    };
    assert_eq!(byte(&replayed[0], 0), 1, "flushed, then overwritten without a flush");
    assert_eq!(byte(&replayed[0], 8192), 3, "FUA");
    assert_eq!(byte(&replayed[1], 1 << 20), 0, "after the cut");

    // With everything kept the replay is what the server holds.
    let whole = [fresh("a.all"), fresh("b.all")];
    log.replay(Cut { position: usize::MAX, unflushed: Unflushed::Kept }, &whole).unwrap();
    for (disk, name) in disks.iter().zip(["a.all", "b.all"]) {
        let replayed = std::fs::read(directory.path().join(name)).unwrap();
        assert!(replayed == std::fs::read(&disk.file).unwrap(), "{name} differs");
    }
}

#[test]
fn an_unknown_export_and_a_request_beyond_the_end_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let disks = disks(directory.path());
    let socket = directory.path().join("s");
    let _server = Server::start(&socket, &disks, &directory.path().join("log")).unwrap();
    let options =
        format!("driver=nbd,server.type=unix,server.path={},export=none", socket.display());
    let output = Command::new("qemu-io").args(["--image-opts", &options]).output().unwrap();
    assert!(!output.status.success());

    let mut stream = UnixStream::connect(&socket).unwrap();
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
    let mut hello = protocol::CLIENT_NO_ZEROES.to_be_bytes().to_vec();
    hello.extend(protocol::IHAVEOPT.to_be_bytes());
    hello.extend(option::EXPORT_NAME.to_be_bytes());
    hello.extend(1_u32.to_be_bytes());
    hello.push(b'a');
    // A read of 4 KiB whose end lies beyond the disk's.
    hello.extend(0x2560_9513_u32.to_be_bytes());
    hello.extend([0, 0, 0, 0]);
    hello.extend(42_u64.to_be_bytes());
    hello.extend((SIZE - 512).to_be_bytes());
    hello.extend(4096_u32.to_be_bytes());
    stream.write_all(&hello).unwrap();
    let mut answer = [0; 10 + 16];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..8], SIZE.to_be_bytes());
    assert_eq!(answer[14..18], protocol::EINVAL.to_be_bytes());
    assert_eq!(answer[18..26], 42_u64.to_be_bytes());
}
