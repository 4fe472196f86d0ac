//! A file of the medium as a read-only block device.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Setter, ioctl};

use crate::error::Error;

/// `LOOP_CTL_ADD` of linux/loop.h.
const ADD: u32 = 0x4C80;

/// `LOOP_CONFIGURE` of linux/loop.h.
const CONFIGURE: u32 = 0x4C0A;

/// `LO_FLAGS_READ_ONLY` of linux/loop.h: the device refuses writes.
const READ_ONLY: u32 = 1;

/// More devices than this are never in use before the root is switched.
const DEVICES: usize = 64;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

// The kernel copies this many bytes whatever we think.
const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

/// Attaches the file to the first free device.
pub(crate) fn attach(path: &Path) -> Result<PathBuf, Error> {
    let file = File::open(path).map_err(|source| Error::file("open", path, source))?;
    for number in 0..DEVICES {
        let node = PathBuf::from(format!("/dev/loop{number}"));
        add(number)?;
        let device = OpenOptions::new().read(true).write(true).open(&node);
        let device = match device {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(|source| Error::file("open", &node, source))?,
        };
        match configure(&device, &file) {
            Ok(()) => return Ok(node),
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(Error::file("attach a loop device to", path, errno.into())),
        }
    }
    Err(Error::file("find a free loop device for", path, ErrorKind::NotFound.into()))
}

fn add(number: usize) -> Result<(), Error> {
    let path = Path::new("/dev/loop-control");
    let control = File::open(path).map_err(|source| Error::file("open", path, source))?;
    // SAFETY: LOOP_CTL_ADD takes the number itself as its argument and touches no memory.
    #[allow(unsafe_code)]
    let added = unsafe { ioctl(&control, IntegerSetter::<ADD>::new_usize(number)) };
    match added {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::file("add a loop device by", path, errno.into())),
    }
}

fn configure(device: &File, file: &File) -> rustix::io::Result<()> {
    let info = Info {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: READ_ONLY,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let fd = file.as_raw_fd().unsigned_abs();
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, whose layout `Config` has, and the
    // descriptor in it is open for as long as the call lasts.
    #[allow(unsafe_code)]
    unsafe {
        ioctl(device, Setter::<CONFIGURE, Config>::new(config))
    }
}
