//! How many readings a second go from a register block through the profile into the device trees, on one core.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lwm2m_client::Timestamp;
use lwm2m_client::object::ObjectTable;
use ucifi_core::config::{AccountConfig, CabinetConfig, Config, DeviceConfig};
use ucifi_core::field::{BlockContent, RegisterBlock, Table};
use ucifi_core::{Frame, Gateway, Link, Now, Profile, Uplink};
use ucifi_profiles::Catalogue;

const DEVICES: u8 = 100;
const REGISTERS: u16 = 80;

fn link(unit: u8) -> Link {
    Link::Modbus {
        bus: Arc::from("line"),
        unit,
    }
}

fn gateway(
    accounts: Vec<AccountConfig>,
    table: &Arc<ObjectTable>,
    profile: &Arc<dyn Profile>,
    now: Now,
) -> Gateway {
    let device = |unit: u8| DeviceConfig {
        id: Arc::from(format!("meter-{unit}")),
        label: Arc::from(""),
        serial: Arc::from(""),
        profile: profile.clone(),
        link: link(unit),
        endpoint: None,
        intervals: Default::default(),
    };
    let config = Config {
        name: Arc::from("cab"),
        cabinet: CabinetConfig::default(),
        accounts,
        devices: (1..=DEVICES).map(device).collect(),
        answer_within_ms: 4000,
        buffer: ucifi_core::BufferConfig::default(),
    };
    Gateway::new(config, table.clone(), 1, now).expect("a gateway of meters")
}

/// A block of floats that differ from round to round, so that every value is news.
fn block(round: u32) -> Frame {
    let float = |n: u16| (200.0 + f32::from(n) + (round % 97) as f32).to_bits();
    let words = (0..REGISTERS / 2)
        .flat_map(|n| [(float(n) >> 16) as u16, float(n) as u16])
        .collect();
    Frame::ModbusBlock(RegisterBlock {
        table: Table::InputRegisters,
        address: 0,
        content: BlockContent::Words(words),
    })
}

fn uplinks(criterion: &mut Criterion) {
    let table = Arc::new(ObjectTable::builtin());
    let profile: Arc<dyn Profile> = Catalogue::stock(&table)
        .find("eastron.sdm630")
        .expect("a stock profile")
        .clone();
    let readings = profile
        .decode(&block(0))
        .expect("the profile's own block")
        .samples
        .len();
    for (name, accounts) in [
        ("no server", vec![]),
        (
            "one server, not registered",
            vec![AccountConfig::new("s", "coap://127.0.0.1")],
        ),
    ] {
        let start = Now {
            instant: Instant::now(),
            wall: Some(Timestamp::from_unix_ms(1_790_000_000_000)),
        };
        let mut gateway = gateway(accounts, &table, &profile, start);
        let mut round = 0_u32;
        let mut group = criterion.benchmark_group("decode and apply");
        group.throughput(Throughput::Elements(readings as u64));
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    round += 1;
                    let after = Duration::from_millis(u64::from(round));
                    let wall = start
                        .wall
                        .map(|t| Timestamp::from_unix_ms(t.unix_ms() + i64::from(round)));
                    let received = Now {
                        instant: start.instant + after,
                        wall,
                    };
                    let unit = (round % u32::from(DEVICES)) as u8 + 1;
                    Uplink::new(link(unit), block(round), received)
                },
                |uplink| {
                    gateway.handle_uplink(uplink);
                    while gateway.poll_output().is_some() {}
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, uplinks);
criterion_main!(benches);
