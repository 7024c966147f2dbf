//! What this machine is called where nobody has said: its rows have one name, whatever runs on it and however often.
//!
//! The name of the host is what people know it by; machines that are called alike, as many are `localhost`, are told apart by their
//! `/etc/machine-id`, and machines of one image, which share that, by their names.

/// The machine's name and, where it has a machine id, eight digits that are made of it; `None` where it has no name.
pub(crate) fn name() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    // Of this namespace: a container has one of its own.
    name_of(&read("/proc/sys/kernel/hostname"), &read("/etc/machine-id"))
}

fn name_of(host: &str, machine: &str) -> Option<String> {
    let (host, machine) = (host.trim(), machine.trim());
    if host.is_empty() {
        return None;
    }
    if machine.is_empty() {
        return Some(host.to_owned());
    }
    // The id itself is to stay on the machine, by its manual.
    let mut hasher = blake3::Hasher::new_derive_key("fleetcast 1 host name");
    hasher.update(machine.as_bytes());
    let digits = hasher.finalize().to_hex();
    Some(format!("{host}-{}", &digits[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_differ_by_name_or_by_machine_id_and_one_is_called_the_same_each_time() {
        let one = name_of("web-1\n", "0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(one, name_of("web-1", "0123456789abcdef0123456789abcdef").unwrap());
        assert!(one.starts_with("web-1-") && one.len() == "web-1-".len() + 8, "{one}");
        assert!(!one.contains("01234567"), "{one}");
        for (host, machine) in [
            ("web-2", "0123456789abcdef0123456789abcdef"),
            ("web-1", "0"),
            ("web-1", ""),
        ] {
            assert_ne!(Some(&one), name_of(host, machine).as_ref());
        }
        assert_eq!(name_of("web-1", "\n").as_deref(), Some("web-1"));
        assert_eq!(name_of("\n", "0123"), None);
    }
}
