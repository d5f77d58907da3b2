//! What a process has loaded into the kernel, by the numbers of what it holds open; and whether it is
//! still there, as the kernel lists all that is loaded.

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};
use std::collections::BTreeSet;
use std::fs;

/// One process' programs, maps and links. The kernel gives no number twice.
#[derive(Debug)]
pub struct Loaded {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Loaded {
    /// Of a running process.
    pub fn by(pid: u32) -> Self {
        let files: Vec<String> = fs::read_dir(format!("/proc/{pid}/fdinfo"))
            .unwrap()
            .flatten()
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .collect();
        let of = |key: &str| {
            let number =
                |text: &String| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
            files.iter().filter_map(number).collect()
        };
        Self { programs: of("prog_id:"), maps: of("map_id:"), links: of("link_id:") }
    }

    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    pub fn maps(&self) -> usize {
        self.maps.len()
    }

    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// What the kernel has of it now, in words.
    pub fn left(&self) -> Vec<String> {
        let programs = loaded_programs().filter_map(|program| {
            let program = program.ok()?;
            let name = program.name_as_str().unwrap_or_default().to_owned();
            self.programs.contains(&program.id()).then(|| format!("program {} {name}", program.id()))
        });
        let maps = loaded_maps().filter_map(|map| {
            let map = map.ok()?;
            self.maps.contains(&map.id()).then(|| format!("map {}", map.id()))
        });
        let links = loaded_links().filter_map(|link| {
            let id = link.ok()?.id();
            self.links.contains(&id).then(|| format!("link {id}"))
        });
        programs.chain(maps).chain(links).collect()
    }
}
