//! `bedplate-host`: activation, generations, pools, bridges, VMs, NFS, backups.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_events::cause::{nobody_reads, texts};
use bedplate_guests::vm::redefine::Wish;
use bedplate_host_service::backup::record::Task as BackupTask;
use bedplate_host_service::backup::retrieve::Retrieval;
use bedplate_host_service::backup::room::Room;
use bedplate_host_service::command::{Back, LabTask, NotAsIntended};
use bedplate_host_service::{command, etc};
use bedplate_model::name::{ByIdName, NotAName, Role};
use bedplate_planner::pool_history::Word;
use bedplate_planner::{MemberRequest, MemberTask};
use bedplate_platform::{toplevel, update};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bedplate-host", version, about = "Makes the machine agree with host.toml")]
struct Arguments {
    /// The document to read.
    #[arg(long, global = true, default_value = "/etc/bedplate/host.toml")]
    host_file: PathBuf,
    /// Print JSON where a command prints something.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make bridges, VMs, exports and backups agree with host.toml.
    Converge {
        /// Begin what `[restore]` brings back although there does not seem to be room.
        #[arg(long)]
        ignore_room: bool,
    },
    /// Show what converge would change: exit code 3 when it would change something, 4 when
    /// something is not as intended and it could not.
    Plan,
    /// Show intent, reality and drift of everything, pools included: exit code 3 when converge
    /// would change something, 4 when something wants a person, such as a backup that is too old.
    Status,
    /// Take a backup, bring files back from it, and see that it can be relied on.
    #[command(subcommand)]
    Backup(Backup),
    /// Unlock pools, see how they stand, and change the disks they are made of.
    #[command(subcommand)]
    Pool(Pool),
    /// Copies of machines from their newest snapshot, on a bridge that leads nowhere.
    #[command(subcommand)]
    Lab(Lab),
    /// Virtual machines.
    #[command(subcommand)]
    Vm(Vm),
    /// What leads outside.
    #[command(subcommand)]
    Network(Network),
    /// Tell whom host.toml names of lost disks, failed units, old backups and drift, and when they are over.
    Notify {
        /// Send a message that only says that messages arrive.
        #[arg(long)]
        test: bool,
    },
    /// Build the system anew from /etc/nixos and make it boot next; the boot menu keeps offering
    /// what was built before.
    Rebuild {
        /// Build nothing: make the generation before the current one boot next.
        #[arg(long)]
        rollback: bool,
        /// With --rollback: this generation.
        #[arg(long, value_name = "NUMBER", requires = "rollback")]
        to: Option<u64>,
    },
    /// Take the platform of a newer medium: its paths are copied into the store, /etc/nixos names
    /// them in one commit, and the system that is built of them boots next.
    Update {
        /// The device of the medium.
        #[arg(default_value = update::MEDIUM)]
        medium: PathBuf,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// The machine's ssh key.
    #[command(subcommand)]
    HostKey(HostKey),
    /// Generations of the system and their boot entries.
    #[command(subcommand)]
    Generation(Generation),
    /// Prepare /usr, /etc, /var and accounts from a toplevel.
    Activate {
        /// Store path of the toplevel.
        toplevel: PathBuf,
    },
    /// Build a toplevel; called by Nix with store paths in its environment.
    #[command(hide = true)]
    System,
    /// Write the files under /etc that the NixOS module leaves to this program.
    #[command(hide = true)]
    Render {
        /// Directory to write them into.
        out: PathBuf,
    },
}

#[derive(Subcommand)]
enum HostKey {
    /// Put the key that `bedplate host prepare` made in place, from the key stick.
    Take {
        /// Replace the key that the machine has.
        #[arg(long)]
        replace: bool,
    },
    /// Put the key that comes on standard input in place of the machine's: one that was prepared, and that
    /// an admin has opened.
    Put,
}

#[derive(Subcommand)]
enum Generation {
    /// Show the generations, which runs, which boots next, and whether each has come up.
    List,
    /// Called when a boot ends in an emergency: starts again while the generation is on trial.
    #[command(hide = true)]
    Failed,
    /// Called by NixOS when its boot loader was installed: notes what stands on the EFI system partition, by
    /// content, and looks whether the disk has it.
    #[command(hide = true)]
    Record {
        /// Make the mirror what the partition is.
        #[arg(long)]
        mirror: bool,
    },
    /// Called by NixOS before it switches: refuses a toplevel that is made for another OS disk or `host.id`, which
    /// this machine would not boot.
    #[command(hide = true)]
    Fits {
        /// Store path of the toplevel.
        toplevel: PathBuf,
    },
    /// Called by systemd on NixOS as a generator: the unit that mounts the mirror follows a disk that was replaced.
    #[command(hide = true)]
    MirrorUnit {
        /// Where the generator's units stand.
        units: PathBuf,
    },
    /// Make a toplevel the one that boots next, its entry renamed into place last.
    Boot {
        /// Store path of the toplevel.
        toplevel: PathBuf,
    },
}

#[derive(Subcommand)]
enum Pool {
    /// Unlock and mount a pool, when what is plugged in has its newest history.
    Open {
        /// Its name.
        name: String,
        /// Go on with what is plugged in although a disk that is not may hold newer data, which is
        /// given up.
        #[arg(long)]
        give_up_newer: bool,
        /// Of several histories, keep the one on this role's disk: what only the others hold is given
        /// up.
        #[arg(long, value_name = "ROLE", conflicts_with = "give_up_newer")]
        keep: Option<Role>,
    },
    /// Note that nothing asks for keys of a pool any more; its unit says so, however opening it ended.
    #[command(hide = true)]
    Settled {
        /// Its name.
        name: String,
    },
    /// Bring disks up to date that were away, and note those that drop out; the system does it by
    /// itself.
    Tend,
    /// Show what host.toml wants of each pool and how it stands: exit code 3 when one is
    /// degraded, 4 when one is not mounted or could not be looked at.
    Status,
    /// Give a role a new disk: for one that is lost, or that fails and still works.
    Replace(Change),
    /// Add the disk of a role that was written into host.toml.
    Add(Change),
    /// Take a role's disk out of its pool, or forget one that is lost.
    Remove {
        /// Its role.
        role: Role,
        /// Do it, instead of only showing the plan.
        #[arg(long)]
        yes: bool,
    },
    /// Read everything and repair what one copy has wrong.
    Scrub {
        /// Name of the pool.
        name: String,
    },
}

#[derive(clap::Args)]
struct Change {
    /// Its role.
    role: Role,
    /// Name of the new disk under /dev/disk/by-id; without it the `id` in host.toml.
    #[arg(long, value_name = "NAME", value_parser = disk_name)]
    disk: Option<ByIdName>,
    /// Destroy what stands on the new disk.
    #[arg(long)]
    wipe: bool,
    /// Do it, instead of only showing the plan.
    #[arg(long)]
    yes: bool,
}

/// A name under `/dev/disk/by-id`, with the directory or without.
fn disk_name(text: &str) -> Result<ByIdName, NotAName> {
    text.trim_start_matches("/dev/disk/by-id/").parse()
}

impl Change {
    fn request(&self, task: MemberTask) -> MemberRequest<'_> {
        MemberRequest { task, role: &self.role, id: self.disk.as_ref(), wipe: self.wipe }
    }
}

#[derive(Subcommand)]
enum Lab {
    /// Make copies; they are started by hand.
    Clone {
        /// Names of machines in host.toml.
        #[arg(required = true)]
        machines: Vec<String>,
        /// A bridge of host.toml without NIC and addresses.
        #[arg(long)]
        bridge: String,
    },
    /// Make all copies anew from what is the newest snapshot now; what was done in them is lost.
    Reset,
    /// Remove all copies with their disks.
    Destroy,
}

#[derive(Subcommand)]
enum Network {
    /// Called before networkd starts: what was proven last counts until converge has tried other
    /// settings.
    #[command(hide = true)]
    Begin,
    /// Called by a timer when new settings were not proven to lead outside.
    #[command(hide = true)]
    TakeBack,
    /// Let converge try settings once more that were taken back.
    TryAgain,
}

#[derive(Subcommand)]
enum Vm {
    /// Ask a guest to shut down and start it with its newest definition.
    Restart {
        /// Its name.
        name: String,
        /// Turn it off when it has not shut down within two minutes.
        #[arg(long)]
        force: bool,
    },
    /// Called when a USB device of a guest is plugged in: it gets it, and one that waits for room goes on.
    #[command(hide = true)]
    Tend,
    /// Define a guest as host.toml says, whatever was changed in its definition by hand.
    Redefine {
        /// Its name.
        name: String,
        /// With the newest machine that QEMU knows, in the place of the one it was first defined with.
        #[arg(long)]
        newest_machine: bool,
        /// With new variables of its firmware; the old ones are kept in its directory.
        #[arg(long)]
        new_variables: bool,
    },
}

#[derive(Subcommand)]
enum Backup {
    /// Take a backup now.
    Run {
        /// Its name.
        name: String,
    },
    /// Called when a backup has ended: lets go the machines that one that was killed held.
    #[command(hide = true)]
    LetGo,
    /// Show the snapshots of this host in the repository.
    List {
        /// Its name.
        name: String,
    },
    /// Bring files back into a new directory.
    Restore {
        /// Its name.
        name: String,
        /// A directory that is made, inside a pool.
        #[arg(long, value_name = "DIRECTORY")]
        to: PathBuf,
        /// Id of the snapshot, as `list` shows it; without it the newest complete one.
        #[arg(long, value_name = "ID")]
        snapshot: Option<String>,
        /// A path as it was on the machine, in full, several times for several; without it all. It is a
        /// name: `*`, `?` and brackets stand for themselves.
        #[arg(long = "path", value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Begin although there does not seem to be room.
        #[arg(long)]
        ignore_room: bool,
    },
    /// Restore the newest backup beside the data, compare every file by hash, and remove it again.
    Drill {
        /// Its name.
        name: String,
        /// Begin although there does not seem to be room.
        #[arg(long)]
        ignore_room: bool,
    },
    /// Delete what no snapshot holds from the repository.
    Prune {
        /// Its name.
        name: String,
    },
    /// Check the repository.
    Check {
        /// Its name.
        name: String,
        /// Read all data.
        #[arg(long)]
        read_data: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !nobody_reads(error.as_ref()) {
                report(error.as_ref());
            }
            let differs = error.downcast_ref::<NotAsIntended>();
            differs.map_or(ExitCode::FAILURE, |differs| ExitCode::from(differs.exit_code()))
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { host_file, json, task } = arguments;
    // What programs read goes out as it is; what people read, in colour where that is wished for.
    let (mut plain, mut painted) = (io::stdout(), anstream::stdout());
    let out: &mut (dyn io::Write + Send) = if *json { &mut plain } else { &mut painted };
    match task {
        Task::Converge { ignore_room } => {
            command::converge(host_file, Room::given(*ignore_room), *json, out)
        }
        Task::Plan => command::plan(host_file, *json, out),
        Task::Status => command::status(host_file, *json, out),
        Task::Backup(backup) => run_backup(host_file, backup, *json, out),
        Task::Pool(Pool::Open { name, give_up_newer, keep }) => {
            let word = match keep {
                Some(role) => Word::Keep(role.clone()),
                None if *give_up_newer => Word::GiveUpNewer,
                None => Word::None,
            };
            command::pool_open(host_file, name, &word, out)
        }
        Task::Pool(Pool::Settled { name }) => command::pool_settled(host_file, name),
        Task::Pool(Pool::Tend) => command::pool_tend(host_file, out),
        Task::Pool(Pool::Status) => command::pool_status(host_file, *json, out),
        Task::Pool(Pool::Replace(change)) => {
            let request = change.request(MemberTask::Replace);
            command::pool_change(host_file, &request, change.yes, *json, out)
        }
        Task::Pool(Pool::Add(change)) => {
            let request = change.request(MemberTask::Add);
            command::pool_change(host_file, &request, change.yes, *json, out)
        }
        Task::Pool(Pool::Remove { role, yes }) => {
            let task = MemberTask::Remove;
            let request = MemberRequest { task, role, id: None, wipe: false };
            command::pool_change(host_file, &request, *yes, *json, out)
        }
        Task::Pool(Pool::Scrub { name }) => command::pool_scrub(host_file, name, out),
        Task::Lab(Lab::Clone { machines, bridge }) => {
            command::lab(host_file, LabTask::Clone { machines, bridge }, *json, out)
        }
        Task::Lab(Lab::Reset) => command::lab(host_file, LabTask::Reset, *json, out),
        Task::Lab(Lab::Destroy) => command::lab(host_file, LabTask::Destroy, *json, out),
        Task::Network(Network::Begin) => command::network_begin(out),
        Task::Network(Network::TakeBack) => command::network_take_back(out),
        Task::Network(Network::TryAgain) => command::network_try_again(host_file, out),
        Task::Vm(Vm::Restart { name, force }) => command::vm_restart(host_file, name, *force, out),
        Task::Vm(Vm::Tend) => command::vm_tend(host_file, out),
        Task::Vm(Vm::Redefine { name, newest_machine, new_variables }) => {
            let wish = Wish { newest_machine: *newest_machine, new_variables: *new_variables };
            command::vm_redefine(host_file, name, wish, out)
        }
        Task::Notify { test } => command::notify(host_file, *test, out),
        Task::Rebuild { rollback, to } => {
            let back = rollback.then(|| to.map_or(Back::ToThePrevious, Back::To));
            command::rebuild(host_file, back, *json, out)
        }
        Task::Update { medium, dry_run } => {
            command::update(host_file, medium, *dry_run, *json, out)
        }
        Task::Generation(Generation::List) => command::generation_list(*json, out),
        Task::Generation(Generation::Record { mirror }) => command::generation_record(*mirror),
        Task::Generation(Generation::Fits { toplevel }) => command::generation_fits(toplevel),
        Task::Generation(Generation::MirrorUnit { units }) => {
            command::generation_mirror_unit(host_file, units)
        }
        Task::Generation(Generation::Failed) => command::generation_failed(out),
        Task::HostKey(HostKey::Take { replace }) => {
            command::host_key_take(host_file, *replace, out)
        }
        Task::HostKey(HostKey::Put) => {
            command::host_key_put(host_file, &mut io::stdin().lock(), out)
        }
        Task::Generation(Generation::Boot { toplevel }) => command::generation_boot(toplevel),
        Task::Activate { toplevel } => command::activate(toplevel, out),
        Task::System => Ok(toplevel::build(etc::entries)?),
        Task::Render { out } => Ok(etc::render(host_file, out)?),
    }
}

fn run_backup(
    host_file: &Path,
    backup: &Backup,
    json: bool,
    out: &mut dyn io::Write,
) -> Result<(), Box<dyn Error>> {
    let task = |name: &str, task: BackupTask, out: &mut dyn io::Write| {
        command::task(host_file, name, (task, Room::Asked), json, out)
    };
    match backup {
        Backup::Run { name } => command::run(host_file, name, json, out),
        Backup::LetGo => command::let_go(host_file, std::env::var("SERVICE_RESULT").ok(), out),
        Backup::List { name } => command::list(host_file, name, json, out),
        Backup::Restore { name, to, snapshot, paths, ignore_room } => {
            let room = Room::given(*ignore_room);
            let request = Retrieval { name, snapshot: snapshot.as_deref(), paths, to, room };
            command::retrieve(host_file, &request, json, out)
        }
        Backup::Drill { name, ignore_room } => {
            let task = (BackupTask::Drill, Room::given(*ignore_room));
            command::task(host_file, name, task, json, out)
        }
        Backup::Prune { name } => task(name, BackupTask::Prune, out),
        Backup::Check { name, read_data: false } => task(name, BackupTask::Check, out),
        Backup::Check { name, read_data: true } => task(name, BackupTask::CheckData, out),
    }
}

fn report(error: &dyn Error) {
    eprintln!("bedplate-host: {}", texts(error).join("\n  because: "));
}
