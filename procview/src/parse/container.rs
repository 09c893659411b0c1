//! Cgroup paths that runtimes make for containers.

/// A container by the cgroup that a runtime made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerPath<'a> {
    /// The path of that cgroup.
    pub path: &'a [u8],
    /// The container's id, 64 hexadecimal digits, or the name of a system container.
    pub id: &'a [u8],
}

/// The innermost cgroup on `path` that a runtime made for a container.
///
/// What systemd makes within a system container is a part of that container, and so is a cgroup that any
/// container makes within its own.
pub fn container_path(path: &[u8]) -> Option<ContainerPath<'_>> {
    containers(path).last()
}

/// The outermost one: with all that runs in it, nested containers included.
pub fn outermost_container_path(path: &[u8]) -> Option<ContainerPath<'_>> {
    containers(path).next()
}

/// The cgroup on `path` that answers for what is used in it: a user's slice, the outermost container, or
/// itself. Whoever may make cgroups of his own below it gets no more by that.
pub fn account_path(path: &[u8]) -> &[u8] {
    let user = ends(path).map(|end| &path[..end]).find(|path| {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        name.starts_with(b"user-") && name.ends_with(b".slice")
    });
    let outermost = || outermost_container_path(path).map(|container| container.path);
    user.or_else(outermost).unwrap_or(path)
}

/// The cgroup on `path` of the container with that id.
pub fn container_path_of<'a>(path: &'a [u8], id: &[u8]) -> Option<ContainerPath<'a>> {
    containers(path)
        .filter(|container| container.id == id)
        .last()
}

/// Without a container on it: the cgroup itself, less `init.scope`, which systemd makes for itself.
pub fn own_path(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/init.scope").unwrap_or(path)
}

/// All containers on `path`, the outermost first.
fn containers(path: &[u8]) -> impl Iterator<Item = ContainerPath<'_>> {
    ends(path).filter_map(|end| {
        let path = &path[..end];
        let start = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let parent = path[..start.saturating_sub(1)]
            .rsplit(|byte| *byte == b'/')
            .next();
        let id = container_id(parent.unwrap_or_default(), &path[start..])?;
        Some(ContainerPath { path, id })
    })
}

/// Where each cgroup on `path` ends.
fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    (0..=path.len()).filter(|end| matches!(path.get(*end), None | Some(b'/')))
}

/// The id of the container that a runtime made the cgroup `name`, a child of one called `parent`, for:
///
/// - `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`, `libpod-<id>.scope`, the bare id
///   of the cgroupfs drivers, `<slice>:cri-containerd:<id>` of a systemd path that cgroupfs took as a name;
/// - `lxc.payload.<name>`, `lxc.payload/<name>`, `lxc/<name>` (LXC, Incus, Proxmox);
/// - `machine-<name>.scope`, `systemd-nspawn@<name>.service` (systemd-nspawn).
pub fn container_id<'a>(parent: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    system_container(parent, name)
        .or_else(|| runtime_id(name))
        .filter(|id| !id.is_empty())
}

fn system_container<'a>(parent: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    if matches!(parent, b"lxc" | b"lxc.payload") {
        return Some(name);
    }
    let between = |prefix: &[u8], suffix: &[u8]| name.strip_prefix(prefix)?.strip_suffix(suffix);
    between(b"lxc.payload.", b"")
        .or_else(|| between(b"machine-", b".scope"))
        .or_else(|| between(b"systemd-nspawn@", b".service"))
}

fn runtime_id(name: &[u8]) -> Option<&[u8]> {
    const DIGITS: usize = 64;
    let name = name.strip_suffix(b".scope").unwrap_or(name);
    let (prefix, id) = name.split_at_checked(name.len().checked_sub(DIGITS)?)?;
    let is_id = id
        .iter()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    // conmon supervises a container and is not in it.
    let is_container = prefix.is_empty()
        || (prefix.ends_with(b"-") && !prefix.ends_with(b"conmon-"))
        || prefix.ends_with(b":");
    (is_id && is_container).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn cut(path: &str) -> Option<(&str, &str)> {
        let found = container_path(path.as_bytes())?;
        let text = |bytes| std::str::from_utf8(bytes).expect("a part of text");
        Some((text(found.path), text(found.id)))
    }

    #[test]
    fn the_innermost_runtime_component_is_the_container() {
        for name in [
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}.scope"),
            format!("docker-{ID}.scope"),
            format!("libpod-{ID}.scope"),
            format!("kubepods-burstable-pod1.slice:cri-containerd:{ID}"),
            ID.to_owned(),
        ] {
            let path = format!("/kubepods.slice/kubepods-pod1.slice/{name}");
            let found = Some((path.as_str(), ID));
            assert_eq!(cut(&path), found);
            assert_eq!(cut(&format!("{path}/init.scope")), found);
            assert_eq!(cut(&format!("{path}/system.slice/a.service")), found);
            let other = ID.replace('0', "f");
            let nested = format!("{path}/docker/{other}");
            assert_eq!(
                cut(&format!("{nested}/x")),
                Some((nested.as_str(), other.as_str()))
            );
            let outer = outermost_container_path(nested.as_bytes()).expect("the outer one");
            assert_eq!(outer.path, path.as_bytes());
            let found = container_path_of(nested.as_bytes(), ID.as_bytes());
            assert_eq!(found.map(|found| found.path), Some(path.as_bytes()));
        }
    }

    #[test]
    fn a_system_container_holds_what_systemd_makes_in_it() {
        for container in [
            "/lxc.payload.web",
            "/lxc.payload/web",
            "/lxc/web",
            "/machine.slice/machine-web.scope",
            "/machine.slice/systemd-nspawn@web.service",
        ] {
            for inner in [
                "",
                "/init.scope",
                "/payload/system.slice/a.service",
                "/user.slice/session-1.scope",
            ] {
                assert_eq!(
                    cut(&format!("{container}{inner}")),
                    Some((container, "web"))
                );
            }
            let nested = format!("{container}/docker/{ID}");
            assert_eq!(cut(&nested), Some((nested.as_str(), ID)));
        }
        let inner = "/lxc/a/lxc/b";
        assert_eq!(cut(&format!("{inner}/init.scope")), Some((inner, "b")));
    }

    #[test]
    fn without_one_it_is_the_cgroup_itself() {
        for path in [
            "/",
            "/lxc",
            "/lxc.payload.",
            "/lxc.monitor.web",
            "/user.slice/session-1.scope",
            "/machine.slice",
        ] {
            assert_eq!(cut(path), None, "{path}");
        }
        assert_eq!(
            cut(&format!("/machine.slice/libpod-conmon-{ID}.scope")),
            None
        );
        assert_eq!(own_path(b"/machine/vm1/init.scope"), b"/machine/vm1");
        assert_eq!(own_path(b"/init.scope"), b"");
        assert_eq!(own_path(b"/x"), b"/x");
    }

    #[test]
    fn cgroups_of_ones_own_are_charged_to_who_may_make_them() {
        let user = "/user.slice/user-1000.slice";
        let docker = format!("/docker/{ID}");
        for (path, account) in [
            (
                format!("{user}/user@1000.service/user.slice/libpod-{ID}.scope"),
                user,
            ),
            (format!("{docker}/docker/{}", ID.replace('0', "f")), &docker),
            (
                "/system.slice/a.service".to_owned(),
                "/system.slice/a.service",
            ),
            ("/".to_owned(), "/"),
        ] {
            assert_eq!(account_path(path.as_bytes()), account.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_path_is_cut_to_a_part_of_itself(path in "(/[a-f0-9.lxc]{0,70}){0,5}") {
            for found in containers(path.as_bytes()) {
                prop_assert!(path.as_bytes().starts_with(found.path) && !found.id.is_empty());
                prop_assert_eq!(container_path(found.path), Some(found));
            }
        }
    }
}
