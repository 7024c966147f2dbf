//! What a queue or S3 tells of builds: whatever it is, it is builds or an error, and what is told of a bucket is somebody's or nobody's.

use cloud::{
    ObjectCreated, builds_told, check_key, is_build, objects_created, queues_of_bucket, region_of_bucket,
    region_of_queue,
};
use serde_json::Value;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(told) = builds_told(&text) {
        told.iter().for_each(look_at);
    }
    if let Ok(value) = serde_json::from_str::<Value>(&text)
        && let Ok(created) = objects_created(&value)
    {
        assert!(
            created
                .iter()
                .all(|object| !object.bucket.is_empty() && !object.key.is_empty())
        );
        // Within an envelope it says the same.
        let by_sns = serde_json::json!({"Type": "Notification", "Message": value.to_string()});
        if let Ok(wrapped) = objects_created(&by_sns) {
            assert_eq!(wrapped, created);
        }
    }
}

fn look_at(object: &ObjectCreated) {
    if check_key(&object.key).is_ok() {
        let climbs = object.key.split('/').any(|part| matches!(part, "" | "." | ".."));
        assert!(!climbs, "{:?} is no path below a folder", object.key);
    }
    let _ = is_build(&object.key, cloud::BUILD_SUFFIXES);
    for stage in ["", "dev"] {
        for queue in queues_of_bucket(&object.bucket, stage, 3).into_iter().flatten() {
            let region = region_of_bucket(&object.bucket, stage);
            assert!(region.is_some(), "{queue} is of no region");
            assert_eq!(region_of_queue(&queue, stage), region, "{queue}");
        }
    }
}
