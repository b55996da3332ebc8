//! Paths against the path before.

use lwm2m_client::{InstanceId, Path, ResourceId};

use super::RecordsError;
use super::bytes::{Reader, put_difference};

const FAR: u8 = 0x80;
const MAX_DEPTH: usize = 4;
const RESOURCE_SHIFT: u32 = 3;
const INSTANCE_MASK: u8 = 0x07;
/// What is added so that steps back are no negative numbers.
const RESOURCE_BIAS: i32 = 8;
const INSTANCE_BIAS: i32 = 4;

pub(super) fn put(out: &mut Vec<u8>, path: Path, before: Path) {
    if let Some(near) = near(path, before) {
        out.push(near);
        return;
    }
    let (segments, old) = (path.segments(), before.segments());
    out.push(FAR | segments.len() as u8);
    for (place, segment) in segments.iter().enumerate() {
        let old = old.get(place).copied().unwrap_or_default();
        put_difference(out, (*segment).into(), old.into());
    }
}

/// Returns the byte for a path that is a small step away.
fn near(path: Path, before: Path) -> Option<u8> {
    let (Path::Resource(object, instance, resource), Path::Resource(old_object, old_instance, old_resource)) =
        (path, before)
    else {
        return None;
    };
    let step = |new: u16, old: u16, bias: i32, bits: u32| {
        let biased = i32::from(new) - i32::from(old) + bias;
        u8::try_from(biased).ok().filter(|biased| biased >> bits == 0)
    };
    let resource = step(resource.0, old_resource.0, RESOURCE_BIAS, 4)?;
    let instance = step(instance.0, old_instance.0, INSTANCE_BIAS, 3)?;
    (object == old_object).then_some((resource << RESOURCE_SHIFT) | instance)
}

pub(super) fn take(reader: &mut Reader<'_>, before: Path) -> Result<Path, RecordsError> {
    let first = reader.byte()?;
    if first < FAR {
        return step(first, before).ok_or(RecordsError::Path);
    }
    let depth = usize::from(first & !FAR);
    if depth > MAX_DEPTH {
        return Err(RecordsError::Path);
    }
    let old = before.segments();
    let mut segments = Vec::with_capacity(depth);
    for place in 0..depth {
        let old = old.get(place).copied().unwrap_or_default();
        let segment = i64::from(old).checked_add(reader.difference()?);
        let segment = segment.and_then(|segment| u16::try_from(segment).ok());
        segments.push(segment.ok_or(RecordsError::Path)?);
    }
    Path::from_segments(&segments).ok_or(RecordsError::Path)
}

fn step(near: u8, before: Path) -> Option<Path> {
    let Path::Resource(object, instance, resource) = before else {
        return None;
    };
    let step =
        |old: u16, biased: u8, bias: i32| u16::try_from(i32::from(old) + i32::from(biased) - bias).ok();
    let resource = step(resource.0, near >> RESOURCE_SHIFT, RESOURCE_BIAS)?;
    let instance = step(instance.0, near & INSTANCE_MASK, INSTANCE_BIAS)?;
    Some(Path::Resource(object, InstanceId(instance), ResourceId(resource)))
}
