//! Finds vLLM's processes if the process namespace is shared: its command line, and which processes are its own.

use std::collections::BTreeSet;
use std::fs;

use crate::regular_file;

/// Maximum bytes of a command line. One of vLLM has a few thousand; other processes of the host may have any number.
const LONGEST_LINE: u64 = 128 << 10;

/// A vLLM server on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalServer {
    /// Its process.
    pub pid: u32,
    /// Its arguments, from `serve` on.
    pub arguments: Vec<String>,
}

/// The vLLM that answers at `url`, if it runs on this host and the process namespace is shared.
#[must_use]
pub fn server(url: &reqwest::Url) -> Option<LocalServer> {
    let here = matches!(url.host_str()?, "localhost" | "127.0.0.1" | "[::1]");
    let wanted = url.port_or_known_default().filter(|_| here)?;
    servers().find_map(|(port, server)| (port == wanted).then_some(server))
}

/// The ports of the vLLM servers on this host, as far as their processes are visible, in ascending order.
#[must_use]
pub(crate) fn local_ports() -> Vec<u16> {
    let ports: BTreeSet<u16> = servers().map(|(port, _)| port).collect();
    ports.into_iter().collect()
}

/// The vLLM servers on this host with their ports.
fn servers() -> impl Iterator<Item = (u16, LocalServer)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| {
        let raw = regular_file::bytes(&process.path().join("cmdline"), LONGEST_LINE).ok()?;
        let (port, arguments) = serve_line(&String::from_utf8(raw).ok()?)?;
        let pid = process.file_name().to_str()?.parse().ok()?;
        Some((port, LocalServer { pid, arguments }))
    })
}

/// Port and arguments of a `cmdline` (words terminated by NUL), if it is a vLLM server; several servers may share a host.
fn serve_line(cmdline: &str) -> Option<(u16, Vec<String>)> {
    let words: Vec<&str> = cmdline
        .split('\0')
        .filter(|word| !word.is_empty())
        .collect();
    let server = words.iter().position(|word| {
        *word == "vllm" || word.ends_with("/vllm") || word.starts_with("vllm.entrypoints")
    })?;
    let arguments = &words[server + 1..];
    let serves =
        words[server].starts_with("vllm.entrypoints") || arguments.first() == Some(&"serve");
    let value = |place: usize| arguments.get(place + 1).copied();
    let own_port = arguments
        .iter()
        .enumerate()
        .find_map(|(place, word)| match word.strip_prefix("--port")? {
            "" => value(place),
            inline => inline.strip_prefix('='),
        })
        .unwrap_or("8000");
    let port = own_port.parse().ok().filter(|_| serves)?;
    Some((
        port,
        arguments.iter().map(|&word| word.to_owned()).collect(),
    ))
}

/// Our path to what `process` calls `path`: through its root, or its working directory. It may be in another container.
#[must_use]
pub(crate) fn path_of(process: u32, path: &str) -> String {
    let seen_from = if path.starts_with('/') {
        "root"
    } else {
        "cwd/"
    };
    format!("/proc/{process}/{seen_from}{path}")
}

/// Whether `process` is `ancestor` or a direct or indirect child of it.
#[must_use]
pub(crate) fn descends_from(process: u32, ancestor: u32) -> bool {
    let mut chain = std::iter::successors(Some(process), |&process| {
        parent(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    });
    chain.any(|process| process == ancestor)
}

/// The direct and indirect children of `ancestor`.
#[must_use]
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    numbers
        .filter(|&process| process != ancestor && descends_from(process, ancestor))
        .collect()
}

/// The parent in a `/proc/PID/stat`: the second word after the name, which is in parentheses and may contain any character.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (parent != 0).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_that_of_a_server_with_its_port() {
        let line = |text: &str| serve_line(&text.replace(' ', "\0"));
        let (port, words) =
            line("/usr/bin/python3 /opt/bin/vllm serve m --port 8123 -tp 2").unwrap();
        assert_eq!(port, 8123);
        assert_eq!(words, ["serve", "m", "--port", "8123", "-tp", "2"]);
        let module = line("python3 -m vllm.entrypoints.openai.api_server --model m");
        assert_eq!(module.unwrap().0, 8000);
        assert_eq!(line("/opt/bin/vllm bench serve"), None);
        assert_eq!(line("/opt/bin/vllm serve m --port none"), None);
    }

    #[test]
    fn the_parent_is_found_behind_a_name_with_brackets() {
        assert_eq!(parent("12 (VLLM::EngineCor) x) S 7 12 12 0"), Some(7));
        assert_eq!(parent("1 (init) S 0 1 1 0"), None);
        assert_eq!(parent("nothing"), None);
    }

    #[test]
    fn a_path_is_found_as_its_process_sees_it() {
        let own = std::process::id();
        let absolute = fs::canonicalize("Cargo.toml").unwrap();
        let absolute = path_of(own, absolute.to_str().unwrap());
        let relative = path_of(own, "Cargo.toml");
        assert_eq!(fs::read(absolute).unwrap(), fs::read(relative).unwrap());
    }

    #[test]
    fn a_child_descends_from_us_and_we_do_not_from_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let own = std::process::id();
        assert!(descends_from(child.id(), own));
        assert!(descends_from(own, own));
        assert!(!descends_from(own, child.id()));
        assert!(descendants(own).contains(&child.id()));
        assert!(!descendants(own).contains(&own));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
