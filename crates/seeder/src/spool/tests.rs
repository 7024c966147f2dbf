use std::collections::BTreeSet;

use super::*;

const CHUNK: u32 = 1024;

fn object(key: &str, etag: &str, size: u64) -> ObjectInfo {
    ObjectInfo {
        bucket: "region-a-builds".to_owned(),
        key: key.to_owned(),
        size,
        etag: etag.to_owned(),
    }
}

fn open(path: &Path, bytes_max: Option<u64>) -> Arc<SpoolFolder> {
    SpoolFolder::open(path, SpoolLimits { bytes_max }).unwrap()
}

fn data(object: &ObjectInfo) -> Vec<u8> {
    let seed = object.etag.bytes().map(u64::from).sum::<u64>();
    let numbers = (seed..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    numbers.take(usize::try_from(object.size).unwrap()).collect()
}

fn pull(folder: &Arc<SpoolFolder>, object: &ObjectInfo) -> Result<WholeBuild, SpoolError> {
    let (build, bytes) = (folder.begin(object, CHUNK)?, data(object));
    for (chunk, bytes) in (0..).zip(bytes.chunks(CHUNK as usize)) {
        if build.hash(chunk).is_none() {
            build.keep(chunk, bytes)?;
        }
    }
    build.finish(Arc::new(Manifest::of(&object.key, &bytes, CHUNK).unwrap()))
}

fn files(path: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(path).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_whole_build_is_there_after_a_restart_and_its_versions_and_buckets_are_kept_apart() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), None);
    let long = format!("../{}/../x.zip", "long/".repeat(200));
    let objects = [
        object("app.zip", "1", 5000),
        object("app.zip", "2", 6000),
        object(&long, "1", 5000),
        ObjectInfo {
            bucket: "region-b-builds".to_owned(),
            ..object("app.zip", "1", 5000)
        },
    ];
    for object in &objects {
        pull(&folder, object).unwrap();
    }
    drop(folder);
    let folder = open(spool.path(), None);
    for object in &objects {
        let whole = folder.whole(object).unwrap();
        assert!(whole.is_unchanged);
        assert_eq!(std::fs::read(&whole.path).unwrap(), data(object));
    }
    assert_eq!(files(spool.path()).len(), objects.len() * 2 + 1, "and the lock");
}

/// Files without a byte on disk, as large as builds are: whoever read them to know them would take a minute for it.
#[test]
fn ten_builds_of_a_gibibyte_are_taken_up_without_reading_them() {
    const SIZE: u64 = 1 << 30;
    let spool = tempfile::tempdir().unwrap();
    let hashes = vec![swarm::Hash::of(&vec![0; 1 << 20]); 1024];
    let objects: Vec<ObjectInfo> = (0..10).map(|n| object("app.zip", &n.to_string(), SIZE)).collect();
    for object in &objects {
        let name = BuildName::of(object);
        let file = File::create(spool.path().join(name.with("data"))).unwrap();
        file.set_len(SIZE).unwrap();
        let manifest = Manifest::new("app.zip", swarm::Bytes::new(SIZE), 1 << 20, hashes.clone()).unwrap();
        let record = Record::new(object, &manifest, FileSeen::of(&file.metadata().unwrap()), 1);
        let text = serde_json::to_vec(&record).unwrap();
        replace_file(&spool.path().join(name.with("json")), &text).unwrap();
    }
    let began = std::time::Instant::now();
    let folder = open(spool.path(), None);
    assert!(objects.iter().all(|object| folder.whole(object).unwrap().is_unchanged));
    let took = began.elapsed();
    println!("taken up in {took:?}");
    assert!(took.as_secs() < 1, "{took:?}");
}

#[test]
fn a_folder_is_one_process_s_and_free_again_when_that_has_gone() {
    let spool = tempfile::tempdir().unwrap();
    let first = open(spool.path(), None);
    let error = SpoolFolder::open(spool.path(), SpoolLimits::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("in use by process {};", std::process::id())),
        "{error}"
    );
    drop(first);
    open(spool.path(), None);
}

#[test]
fn of_an_interrupted_pull_what_verifies_is_kept_and_only_that() {
    let spool = tempfile::tempdir().unwrap();
    let object = object("app.zip", "1", 5000);
    let bytes = data(&object);
    let folder = open(spool.path(), None);
    let build = folder.begin(&object, CHUNK).unwrap();
    build.keep(0, &bytes[..2048]).unwrap();
    build.keep(3, &bytes[3072..4096]).unwrap();
    let path = folder.file(&BuildName::of(&object), "data");
    drop((build, folder));
    // Power was lost before this chunk was on disk.
    use std::os::unix::fs::FileExt as _;
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(b"x", 1030)
        .unwrap();
    let folder = open(spool.path(), None);
    let build = folder.begin(&object, CHUNK).unwrap();
    let there: Vec<u32> = (0..5).filter(|chunk| build.hash(*chunk).is_some()).collect();
    assert_eq!(there, [0, 3]);
    assert!(matches!(
        folder.begin(&object, CHUNK),
        Err(SpoolError::BeingPulled { .. })
    ));
    drop(build);
    // Cut otherwise it begins anew.
    let build = folder.begin(&object, 2 * CHUNK).unwrap();
    assert!((0..3).all(|chunk| build.hash(chunk).is_none()));
    drop(build);
    let whole = pull(&folder, &object).unwrap();
    assert_eq!(std::fs::read(&whole.path).unwrap(), bytes);
}

#[test]
fn room_is_made_by_what_nobody_uses_the_oldest_first_and_what_does_not_fit_leaves_nothing() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), Some(10_000));
    let objects: Vec<ObjectInfo> = (0..4).map(|n| object("app.zip", &n.to_string(), 3000)).collect();
    let used = pull(&folder, &objects[0]).unwrap();
    for (age, object) in (10..).zip(&objects[1..3]) {
        drop(pull(&folder, object).unwrap());
        let name = BuildName::of(object);
        folder.entries.lock().get_mut(&name).unwrap().needed_at = age;
    }
    folder.entries.lock().get_mut(&used.name).unwrap().needed_at = 1;
    let newest = pull(&folder, &objects[3]).unwrap();
    assert!(folder.whole(&objects[1]).is_none(), "the oldest that nobody uses");
    let all: Vec<bool> = objects.iter().map(|object| folder.whole(object).is_some()).collect();
    assert_eq!(all, [true, false, true, true]);
    // It would fit if the others were not there.
    let large = object("large.zip", "1", 9000);
    let before = files(spool.path());
    let error = folder.begin(&large, CHUNK).unwrap_err();
    assert!(
        matches!(
            error,
            SpoolError::DoesNotFit {
                needs: 9000,
                free: 4000,
                later: true,
                ..
            }
        ),
        "{error:?}"
    );
    let largest = object("largest.zip", "1", 11_000);
    let error = folder.begin(&largest, CHUNK).unwrap_err();
    assert!(
        matches!(error, SpoolError::DoesNotFit { later: false, .. }),
        "{error:?}"
    );
    assert_eq!(files(spool.path()), before, "nothing went for it");
    drop((used, newest));
    pull(&folder, &large).unwrap();
}

#[test]
fn what_fits_into_no_spool_takes_no_room_from_others_while_it_is_refused() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), Some(10_000));
    let never = object("never.zip", "1", 11_000);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..300).for_each(|_| drop(folder.begin(&never, CHUNK).unwrap_err())));
        for _ in 0..300 {
            let small = folder.begin(&object("small.zip", "1", 1000), CHUNK);
            small.expect("there is room for it").give_up();
        }
    });
}

#[test]
fn a_pull_that_is_given_up_gives_its_space_back_and_one_that_is_not_makes_room() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), Some(10_000));
    folder.begin(&object("app.zip", "1", 9000), CHUNK).unwrap().give_up();
    assert_eq!(files(spool.path()).len(), 1);
    drop(folder.begin(&object("app.zip", "1", 9000), CHUNK).unwrap());
    drop(folder);
    let folder = open(spool.path(), Some(10_000));
    pull(&folder, &object("app.zip", "2", 9000)).unwrap();
    assert_eq!(files(spool.path()).len(), 3);
}

#[test]
fn a_list_that_is_broken_or_old_is_told_and_loses_no_build() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), None);
    let app = object("app.zip", "1", 5000);
    let whole = pull(&folder, &app).unwrap();
    let notice = |key: &str| BuildNotice {
        bucket: app.bucket.clone(),
        key: key.to_owned(),
    };
    let gone = ListedBuild {
        name: BuildName::of(&object("gone.zip", "1", 1)),
        notice: notice("gone.zip"),
        hosts: 7,
    };
    let listed = ListedBuild {
        name: whole.name.clone(),
        notice: notice("app.zip"),
        hosts: 3,
    };
    folder.keep_list(&[listed.clone(), gone], 10).unwrap();
    let list = folder.list();
    assert_eq!(list.fleet, 10);
    assert_eq!((list.builds, list.notices), (vec![listed], vec![notice("gone.zip")]));
    std::fs::write(spool.path().join(LIST), "{\"format\": 2, \"buil").unwrap();
    assert_eq!(folder.list().builds.len(), 1);
    let old = r#"[{"bucket": "region-a-builds", "key": "old.zip"}]"#;
    std::fs::write(spool.path().join(LIST), old).unwrap();
    assert_eq!(folder.list().notices, [notice("old.zip")]);
}

#[test]
fn what_belongs_to_no_build_is_removed_and_what_is_not_ours_stays() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), None);
    let (broken, cut) = (object("broken.zip", "1", 5000), object("cut.zip", "1", 5000));
    let whole = pull(&folder, &broken).unwrap();
    let started = folder.begin(&cut, CHUNK).unwrap();
    let (record, journal) = (
        folder.file(&whole.name, "json"),
        folder.file(&BuildName::of(&cut), "pull"),
    );
    drop((whole, started, folder));
    std::fs::write(record, "{").unwrap();
    std::fs::write(journal, "").unwrap();
    std::fs::write(spool.path().join("app.zip"), "of an earlier release").unwrap();
    std::fs::write(spool.path().join(BuildName::of(&cut).with("json.new")), "{").unwrap();
    let folder = open(spool.path(), None);
    assert!(folder.whole(&broken).is_none());
    assert_eq!(
        files(spool.path()),
        BTreeSet::from(["app.zip".to_owned(), "lock".to_owned()])
    );
}

#[test]
fn a_kill_between_any_two_steps_of_a_pull_leaves_no_file_that_nobody_needs() {
    let spool = tempfile::tempdir().unwrap();
    let (whole, begun) = (object("app.zip", "1", 5000), object("other.zip", "1", 5000));
    let folder = open(spool.path(), None);
    let name = pull(&folder, &whole).unwrap().name;
    drop(folder.begin(&begun, CHUNK).unwrap());
    drop(folder);
    let lasting = files(spool.path());
    // The record stands and the journal is still there; the next record was not renamed.
    let journal = "{\"first\": 0, \"hashes\": []}";
    for left in [
        name.with("pull"),
        name.with("json.new"),
        BuildName::of(&begun).with("json.new"),
    ] {
        std::fs::write(spool.path().join(left), journal).unwrap();
    }
    let folder = open(spool.path(), None);
    assert_eq!(files(spool.path()), lasting);
    assert!(folder.whole(&whole).unwrap().is_unchanged);
}

#[test]
fn what_was_begun_of_an_older_version_goes_when_a_newer_one_is_pulled() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), None);
    let versions: Vec<ObjectInfo> = (0..3).map(|n| object("app.zip", &n.to_string(), 5000)).collect();
    let other = object("other.zip", "1", 5000);
    pull(&folder, &versions[0]).unwrap();
    drop(folder.begin(&versions[1], CHUNK).unwrap());
    drop(folder.begin(&other, CHUNK).unwrap());
    let newest = folder.begin(&versions[2], CHUNK).unwrap();
    let is_there = |object: &ObjectInfo| folder.file(&BuildName::of(object), "data").exists();
    assert!(
        !is_there(&versions[1]),
        "nobody can go on with it: S3 has another one there"
    );
    assert!(is_there(&versions[0]) && is_there(&other) && is_there(&versions[2]));
    // One that somebody is at is that one's.
    let again = folder.begin(&versions[1], CHUNK).unwrap();
    assert!(is_there(&versions[2]) && is_there(&versions[1]));
    drop((newest, again));
}

#[test]
fn a_file_that_was_cut_is_known_as_changed() {
    let spool = tempfile::tempdir().unwrap();
    let folder = open(spool.path(), None);
    let object = object("app.zip", "1", 5000);
    let path = pull(&folder, &object).unwrap().path;
    File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(!folder.whole(&object).unwrap().is_unchanged);
    std::fs::write(&path, data(&object)).unwrap();
    folder.is_right(&BuildName::of(&object));
    assert!(folder.whole(&object).unwrap().is_unchanged);
}

/// A file system of its own, where this process may mount one; the tests that need it say where they were left out.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("left out: no file system can be mounted here");
        }
        mounted.then_some(Self(folder))
    }

    fn remount(&self, options: &str) {
        let mut mount = std::process::Command::new("mount");
        let options = format!("remount,{options}");
        assert!(
            mount
                .args(["-o", &options])
                .arg(self.0.path())
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn on_a_small_disk_a_build_that_does_not_fit_is_known_before_its_first_byte() {
    let Some(disk) = SmallDisk::new("size=8m") else {
        return;
    };
    let path = disk.0.path();
    let folder = open(path, None);
    let used = pull(&folder, &object("app.zip", "1", 3 << 20)).unwrap();
    drop(pull(&folder, &object("app.zip", "2", 2 << 20)).unwrap());
    let error = folder.begin(&object("large.zip", "1", 6 << 20), CHUNK).unwrap_err();
    assert!(matches!(error, SpoolError::DoesNotFit { later: true, .. }), "{error:?}");
    let error = folder.begin(&object("largest.zip", "1", 60 << 20), CHUNK).unwrap_err();
    assert!(
        matches!(error, SpoolError::DoesNotFit { later: false, .. }),
        "{error:?}"
    );
    // The next one has its place.
    pull(&folder, &object("small.zip", "1", 3 << 20)).unwrap();
    drop(used);
}

#[test]
fn a_disk_that_is_full_or_read_only_is_a_sentence_at_the_start() {
    let Some(disk) = SmallDisk::new("size=4m") else {
        return;
    };
    let path = disk.0.path();
    let folder = open(path, None);
    drop(pull(&folder, &object("app.zip", "1", 1 << 20)).unwrap());
    drop(folder);
    let fill = || std::fs::write(path.join("others"), vec![1; 8 << 20]).unwrap_err();
    fill();
    // What nobody uses makes room …
    let folder = open(path, None);
    assert!(folder.whole(&object("app.zip", "1", 1 << 20)).is_none());
    drop(folder);
    // … and where there is nothing of that kind it is told.
    fill();
    let error = SpoolFolder::open(path, SpoolLimits::default()).unwrap_err();
    assert!(
        error.to_string().contains("expected a --folder that can be written"),
        "{error}"
    );
    disk.remount("ro");
    let error = SpoolFolder::open(path, SpoolLimits::default()).unwrap_err();
    assert!(matches!(error, SpoolError::Io { .. }), "{error:?}");
    disk.remount("rw");
}
