//! Network namespaces of a test's own: each belongs to a thread and ends with it.

use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// What is done inside.
type Work = Box<dyn FnOnce() + Send>;

/// A network namespace and the thread that lives in it.
pub struct Room {
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    /// The thread: where the namespace can be found.
    id: i32,
}

impl Room {
    /// An empty one, with loopback up. Needs root.
    pub fn new() -> Self {
        let (work, todo) = channel::<Work>();
        let (told, id) = channel();
        let thread = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            told.send(nix::unistd::gettid().as_raw()).unwrap();
            todo.iter().for_each(|work| work());
        });
        let room = Self { work: Some(work), thread: Some(thread), id: id.recv().unwrap() };
        room.ip("link set lo up");
        room
    }

    /// Does something inside, and waits for its end.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (told, answer) = channel();
        let work: Work = Box::new(move || told.send(work()).unwrap());
        self.work.as_ref().unwrap().send(work).unwrap();
        answer.recv().expect("what was done inside has panicked")
    }

    /// Runs a command inside.
    pub fn run(&self, command: &str) {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let output = self.inside(move || Command::new(&words[0]).args(&words[1..]).output().unwrap());
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `ip`.
    pub fn ip(&self, arguments: &str) {
        self.run(&format!("ip {arguments}"));
    }

    /// The network counters of this namespace by name: `TcpExt` and `Tcp`.
    pub fn netstat(&self, name: &'static str) -> u64 {
        self.inside(move || {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
            let text = read("netstat") + &read("snmp");
            let lines: Vec<&str> = text.lines().collect();
            let pairs = lines.chunks_exact(2).flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
            let found = pairs.into_iter().find(|(key, _)| *key == name);
            found.unwrap_or_else(|| panic!("there is no {name}")).1.parse().unwrap()
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Two rooms with a cable between them: 10.9.0.1 and 10.9.0.2, on the devices `near` and `far`.
pub fn two_rooms() -> (Room, Room) {
    let (near, far) = (Room::new(), Room::new());
    near.ip(&format!("link add near type veth peer name far netns {}", far.id));
    for (room, device, address) in [(&near, "near", "10.9.0.1"), (&far, "far", "10.9.0.2")] {
        room.ip(&format!("addr add {address}/24 dev {device}"));
        room.ip(&format!("link set {device} up"));
    }
    (near, far)
}
