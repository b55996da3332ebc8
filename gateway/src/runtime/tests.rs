//! What becomes of the gateway when a part of it ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use ucifi_adapters::modbus::Event;
use ucifi_core::Uplink;
use ucifi_core::buffer::Options;
use ucifi_core::field::{BlockContent, Frame, Link, RegisterBlock, Table};

use super::clock::now;
use super::*;
use crate::config::{File, Sources, read};
use crate::limits::INPUTS;
use crate::store::buffer_folder;

/// A meter on a bus whose port is not there.
const METER: &str = "[[bus]]\nname = \"b\"\nport = \"/dev/none\"\n[[device]]\nid = \"m\"\nprofile = \"eastron.sdm120\"\n\
    bus = \"b\"\nunit = 1\n";

/// Returns the configuration of a gateway that keeps everything in a folder.
fn loaded(folder: &TempDir) -> Loaded {
    loaded_with(folder, "")
}

/// The same with something on its buses.
fn loaded_with(folder: &TempDir, buses: &str) -> Loaded {
    let text = format!(
        "[gateway]\nname = \"c\"\nstate_dir = {:?}\n[[server]]\nname = \"city\"\nuri = \"coap://127.0.0.1:1\"\n{buses}",
        folder.path()
    );
    let name = "t".to_owned();
    let file = File { name, text };
    let sources = Sources {
        options: vec![file],
        ..Default::default()
    };
    read(&sources).unwrap()
}

type Callers = (mpsc::Sender<Order>, mpsc::Sender<Call>, mpsc::Sender<Check>);

fn callers() -> (Callers, Wanted) {
    let (orders, ordered) = mpsc::channel(1);
    let (calls, called) = mpsc::channel(1);
    let (checks, checked) = mpsc::channel(1);
    let wanted = Wanted {
        orders: ordered,
        calls: called,
        checks: checked,
    };
    ((orders, calls, checks), wanted)
}

#[tokio::test]
async fn a_bus_that_ends_by_itself_ends_the_gateway_with_an_error() {
    for panics in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, kept) = Store::open(folder.path(), Options::default()).unwrap();
        let mut engine = Engine::start(loaded(&folder), kept, store.health(), 1).unwrap();
        engine
            .field
            .tasks
            .set
            .spawn(async move { assert!(!panics, "meant") });
        let (_callers, mut wanted) = callers();
        let ended = engine.run(&mut wanted, &mut store).await;
        assert!(matches!(ended, Err(RunError::Field(reason)) if reason.is_some() == panics));
    }
}

#[tokio::test]
async fn an_event_loop_that_panics_is_told_to_who_waits_for_its_end() {
    let (orders, _) = mpsc::channel(1);
    let (calls, _) = mpsc::channel(1);
    let (checks, _) = mpsc::channel(1);
    let task = tokio::spawn(async { panic!("meant") });
    let mut running = Running {
        orders,
        calls,
        checks,
        task,
    };
    assert!(matches!(running.ended().await, Err(RunError::EventLoop(_))));
}

#[tokio::test]
async fn a_gateway_that_was_stopped_has_let_go_of_its_ports() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = loaded(&folder);
    loaded.configuration.servers[0].local_ports = Some(free..=free);
    let running = start(loaded, 1).unwrap();
    assert!(running.ask(Request::Status {}).await.is_some());
    assert!(std::net::UdpSocket::bind(("0.0.0.0", free)).is_err());
    running.stop().await.unwrap();
    std::net::UdpSocket::bind(("0.0.0.0", free)).unwrap();
}

/// Tells a new voltage of the meter as fast as it is taken, another one each time, and notes the last one that was.
async fn measure(inputs: mpsc::Sender<Input>, last: Arc<AtomicU32>) {
    for step in 1u32.. {
        let bits = 200f32.to_bits() + step;
        let block = RegisterBlock {
            table: Table::InputRegisters,
            address: 0,
            content: BlockContent::Words(vec![(bits >> 16) as u16, bits as u16]),
        };
        let link = Link::Modbus {
            bus: "b".into(),
            unit: 1,
        };
        let uplink = Uplink::new(link, Frame::ModbusBlock(block), now());
        let event = FromBus::Event(Event::Uplink(uplink));
        let bus = "b".into();
        if inputs.send(Input::Bus { bus, event }).await.is_ok() {
            last.store(bits, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_gateway_whose_meters_never_rest_stops_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, kept) = Store::open(folder.path(), Options::default()).unwrap();
    let mut engine = Engine::start(loaded_with(&folder, METER), kept, store.health(), 1).unwrap();
    let (sender, inputs) = mpsc::channel(INPUTS);
    engine.inputs = inputs;
    let last = Arc::new(AtomicU32::new(0));
    // It tells what it measures by itself.
    let (_, nothing) = mpsc::channel::<Input>(1);
    let meter = measure(sender, Arc::clone(&last));
    engine.field.tasks.run_measuring(meter, nothing, |input| input);
    assert!(engine.disk_answers(&mut store, SETTLE).await);
    while last.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    engine.stop(&mut store).await;
    assert!(begin.elapsed() < SETTLE, "{:?}", begin.elapsed());
    let kept = store.restart(Options::default()).await.unwrap();
    let last_word = |name: &String| name.ends_with("stopped");
    assert!(
        kept.saved.values.keys().any(last_word),
        "{:?}",
        kept.saved.values.keys()
    );
    // All that the meter has told came before the last word.
    let volts = f64::from(f32::from_bits(last.load(Ordering::Relaxed))).to_be_bytes();
    let of_meter = kept
        .saved
        .values
        .iter()
        .filter(|(name, _)| name.starts_with("core/values/m/"));
    let has_last = |bytes: &[u8]| bytes.windows(volts.len()).any(|window| window == volts);
    assert!(of_meter.map(|(_, bytes)| bytes).any(|bytes| has_last(bytes)));
}

#[tokio::test]
async fn a_configuration_is_not_exchanged_while_the_disk_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, kept) = Store::open(folder.path(), Options::default()).unwrap();
    let mut engine = Engine::start(loaded(&folder), kept, store.health(), 1).unwrap();
    assert!(engine.disk_answers(&mut store, SETTLE).await);
    let patience = Duration::from_millis(20);
    assert!(!engine.disk_answers(&mut Store::hanging(), patience).await);
}

#[tokio::test]
async fn who_drops_readings_is_told_that_the_buffer_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(buffer_folder(folder.path()), "").unwrap();
    let (store, kept) = Store::open(folder.path(), Options::default()).unwrap();
    let mut engine = Engine::start(loaded(&folder), kept, store.health(), 1).unwrap();
    let (call, answer) = Call::new(Request::DropOlder {
        before_unix_ms: 1_700_000_000_000,
        server: None,
    });
    answers::answer(&mut engine, call);
    let Reply::Error(problem) = answer.await.unwrap() else {
        panic!("it says that it has dropped them");
    };
    assert!(problem.message.contains("cannot be opened"), "{problem:?}");
}

/// Asks an engine how it is, which does not need the disk.
async fn ask_status(calls: &mpsc::Sender<Call>) {
    let (call, answer) = Call::new(Request::Status {});
    calls.send(call).await.unwrap();
    assert!(matches!(answer.await, Ok(Reply::Ok(_))));
}

#[tokio::test]
async fn a_gateway_tells_its_progress_when_every_part_has_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, kept) = Store::open(folder.path(), Options::default()).unwrap();
    let mut engine = Engine::start(loaded_with(&folder, METER), kept, store.health(), 1).unwrap();
    let ((_orders, _calls, checks), mut wanted) = callers();
    let watch = ProgressWatch::new(checks);
    let progress = tokio::select! {
        progress = watch.check() => progress,
        ended = engine.run(&mut wanted, &mut store) => panic!("{ended:?}"),
    };
    assert_eq!(
        progress.unwrap().to_string(),
        "0 of 1 devices answer, 0 of 2 endpoints registered, 0 readings wait"
    );
}

#[tokio::test]
async fn a_gateway_whose_disk_hangs_works_and_tells_no_progress() {
    let folder = tempfile::tempdir().unwrap();
    let (store, kept) = Store::open(folder.path(), Options::default()).unwrap();
    let mut engine = Engine::start(loaded_with(&folder, METER), kept, store.health(), 1).unwrap();
    let ((_orders, calls, checks), mut wanted) = callers();
    let watch = ProgressWatch::new(checks);
    let mut hanging = Store::hanging();
    let asked = async {
        let mut check = std::pin::pin!(watch.check());
        for _ in 0..10 {
            tokio::select! {
                biased;
                progress = &mut check => panic!("{progress:?}"),
                () = ask_status(&calls) => {}
            }
        }
    };
    tokio::select! {
        () = asked => {}
        ended = engine.run(&mut wanted, &mut hanging) => panic!("{ended:?}"),
    }
}

/// A lamp of a network that takes no commands.
const LAMP: &str = "[lorawan]\nregion = \"EU868\"\nlisten = \"127.0.0.1:1700\"\nwrites = \"deny\"\n[[device]]\nid = \"l\"\n\
    profile = \"nas.ul20xx\"\ndev_eui = \"70B3D57ED0000001\"\njoin_eui = \"70B3D57ED0000000\"\n\
    app_key = \"2B7E151628AED2A6ABF7158809CF4F3C\"\n";

#[tokio::test]
async fn who_watches_a_lamp_sees_that_a_command_was_denied() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, kept) = Store::open(folder.path(), Options::default()).unwrap();
    let mut engine = Engine::start(loaded_with(&folder, LAMP), kept, store.health(), 1).unwrap();
    let ((_orders, calls, _checks), mut wanted) = callers();
    let (lines, mut seen) = mpsc::channel(16);
    let watched = async {
        let (mut call, _) = Call::new(Request::Trace { device: "l".into() });
        call.lines = Some(lines);
        calls.send(call).await.unwrap();
        let (call, _) = Call::new(Request::Write {
            device: "l".into(),
            target: "/3416/0/1".into(),
            value: "50".into(),
        });
        calls.send(call).await.unwrap();
        loop {
            let line = seen.recv().await.unwrap();
            if line["step"] == "delivery" {
                return line;
            }
        }
    };
    let line = tokio::select! {
        line = tokio::time::timeout(SETTLE, watched) => line.expect("it is told"),
        ended = engine.run(&mut wanted, &mut store) => panic!("{ended:?}"),
    };
    assert_eq!(line["text"], "not sent: writes = \"deny\"");
}
