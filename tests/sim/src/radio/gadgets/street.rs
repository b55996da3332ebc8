//! Gadgets that join and send, in real time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::{Gadget, Message};
use crate::radio::io as radio_io;
use crate::radio::{Event, Field, Forwarder, NodeConfig, NodeEvent, SendOutcome};

/// From the join-request to the end of its second window: a device that asks again before is not heard.
const JOIN_TAKES: Duration = Duration::from_secs(7);
/// Devices do not begin at the same time: they would be on the air together.
const APART: Duration = Duration::from_millis(350);

/// The devices of a street, and how often they send.
pub struct StreetPlan {
    seed: u64,
    every: Duration,
    gadgets: Vec<(NodeConfig, Box<dyn Gadget>)>,
    watch: Option<mpsc::Sender<News>>,
}

/// Something that happened to a device of a street.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Its DevEUI.
    pub dev_eui: [u8; 8],
    /// What happened.
    pub deed: Deed,
}

/// What a device did, or what was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It asks for a session.
    Joins,
    /// It has one.
    Joined,
    /// Nobody answered its join-request.
    Unheard,
    /// It sends.
    Sends(Message),
    /// It has sent, and its windows are over.
    Sent(SendOutcome),
    /// It was told something.
    Told {
        /// On this port.
        f_port: u8,
        /// This.
        payload: Vec<u8>,
        /// How bright it is since, where it is a lamp.
        level: Option<u8>,
    },
}

impl StreetPlan {
    /// Begins with nobody; each device will send so often.
    pub const fn new(seed: u64, every: Duration) -> Self {
        Self {
            seed,
            every,
            gadgets: Vec::new(),
            watch: None,
        }
    }

    /// Tells what happens; what there is no room for is lost.
    #[must_use]
    pub fn watched_by(mut self, watch: mpsc::Sender<News>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Adds a device.
    #[must_use]
    pub fn with(mut self, config: NodeConfig, gadget: impl Gadget + 'static) -> Self {
        self.gadgets.push((config, Box::new(gadget)));
        self
    }

    /// Switches all of them on; the forwarder that hears them sends to `server`.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn start(self, forwarder: Forwarder, server: SocketAddr) -> io::Result<Street> {
        let now = Instant::now();
        let nodes = self.gadgets.iter().map(|(config, _)| config.clone());
        let field = Field::new(self.seed, now).with_forwarder(forwarder);
        let radio = radio_io::start(nodes.fold(field, Field::with_node), server).await?;
        let begins = (1_u32..).map(|place| now + APART * place);
        let members = self
            .gadgets
            .into_iter()
            .zip(begins)
            .map(|((config, gadget), due)| {
                let member = Member {
                    gadget,
                    is_joined: false,
                    is_sending: false,
                    due,
                    answers: VecDeque::new(),
                };
                (config.dev_eui, member)
            });
        let members = members.collect();
        let (questions, asked) = mpsc::channel(4);
        let handle = radio.handle.clone();
        let members = Members {
            members,
            every: self.every,
            watch: self.watch,
        };
        let task = tokio::spawn(run(members, radio, asked));
        Ok(Street {
            radio: handle,
            questions,
            task,
        })
    }
}

/// A street at work; dropped, it falls silent.
#[derive(Debug)]
pub struct Street {
    radio: radio_io::Handle,
    questions: mpsc::Sender<Question>,
    task: JoinHandle<()>,
}

type Question = ([u8; 8], oneshot::Sender<Option<u8>>);

impl Street {
    /// Returns how bright a lamp is, in percent.
    pub async fn level(&self, dev_eui: [u8; 8]) -> Option<u8> {
        let (reply, answer) = oneshot::channel();
        self.questions.send((dev_eui, reply)).await.ok()?;
        answer.await.ok()?
    }

    /// From now on the forwarder refuses what it is told to send, with this error, or does so no more.
    pub async fn refuse_to_send(&self, error: Option<&'static str>) {
        let refuse = move |field: &mut Field, _now| field.refuse_to_send(error);
        // A street that has fallen silent sends nothing anyway.
        self.radio.with(refuse).await.unwrap_or_default();
    }

    /// From now on the forwarder and its server hear nothing of each other.
    pub async fn cut_off(&self) {
        let cut = |field: &mut Field, _now| field.conditions.datagram_loss = 1.0;
        // A street that has fallen silent says nothing anyway.
        self.radio.with(cut).await.unwrap_or_default();
    }

    /// From now on no device hears what is sent to it.
    pub async fn deafen(&self) {
        let deafen = |field: &mut Field, _now| field.conditions.downlink_loss = 1.0;
        // A street that has fallen silent hears nothing anyway.
        self.radio.with(deafen).await.unwrap_or_default();
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Members {
    members: BTreeMap<[u8; 8], Member>,
    every: Duration,
    watch: Option<mpsc::Sender<News>>,
}

/// One device: what it is, and what it is about to do.
struct Member {
    gadget: Box<dyn Gadget>,
    is_joined: bool,
    is_sending: bool,
    due: Instant,
    /// What it has to say before its next report.
    answers: VecDeque<Message>,
}

impl fmt::Debug for StreetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreetPlan")
            .field("devices", &self.gadgets.len())
            .finish_non_exhaustive()
    }
}

/// What a device does now.
enum Step {
    Join,
    Send(Message),
}

impl Members {
    fn next_due(&self) -> Option<Instant> {
        self.members.values().map(|member| member.due).min()
    }

    /// Returns what is due, and plans what comes after it.
    fn steps(&mut self, now: Instant) -> Vec<([u8; 8], Step)> {
        let mut steps = Vec::new();
        for (dev_eui, member) in self.members.iter_mut().filter(|(_, member)| member.due <= now) {
            if !member.is_joined {
                member.due = now + JOIN_TAKES;
                steps.push((*dev_eui, Step::Join));
                continue;
            }
            member.due = now + self.every;
            if !std::mem::replace(&mut member.is_sending, true) {
                let message = member.answers.pop_front();
                let message = message.unwrap_or_else(|| member.gadget.report(unix_secs()));
                steps.push((*dev_eui, Step::Send(message)));
            }
        }
        steps
    }

    fn tell(&self, dev_eui: [u8; 8], deed: Deed) {
        if let Some(watch) = &self.watch {
            // Whoever is too slow, or gone, hears less.
            drop(watch.try_send(News { dev_eui, deed }));
        }
    }

    fn handle_event(&mut self, event: &Event, now: Instant) {
        let Some(member) = self.members.get_mut(&event.dev_eui) else {
            return;
        };
        let deed = match &event.event {
            NodeEvent::Joined => {
                member.is_joined = true;
                member.due = now;
                Deed::Joined
            }
            NodeEvent::JoinFailed => Deed::Unheard,
            NodeEvent::Sent(outcome) => {
                member.is_sending = false;
                if !member.answers.is_empty() {
                    member.due = now;
                }
                Deed::Sent(*outcome)
            }
            NodeEvent::Told { f_port, payload } => {
                member.answers.extend(member.gadget.told(*f_port, payload));
                if !member.is_sending {
                    member.due = now;
                }
                Deed::Told {
                    f_port: *f_port,
                    payload: payload.clone(),
                    level: member.gadget.level(),
                }
            }
        };
        self.tell(event.dev_eui, deed);
    }
}

async fn run(mut members: Members, mut radio: radio_io::Running, mut questions: mpsc::Receiver<Question>) {
    loop {
        let due = members.next_due().unwrap_or_else(Instant::now);
        tokio::select! {
            event = radio.events.recv() => match event {
                Some(event) => members.handle_event(&event, Instant::now()),
                None => return,
            },
            question = questions.recv() => match question {
                Some((dev_eui, reply)) => {
                    let member = members.members.get(&dev_eui);
                    // Whoever asked may have gone.
                    reply.send(member.and_then(|member| member.gadget.level())).ok();
                }
                None => return,
            },
            () = sleep_until(due.into()) => {}
        }
        for (dev_eui, step) in members.steps(Instant::now()) {
            members.tell(
                dev_eui,
                match &step {
                    Step::Join => Deed::Joins,
                    Step::Send(message) => Deed::Sends(message.clone()),
                },
            );
            let done = radio.handle.with(move |field, now| match step {
                Step::Join => field.join(dev_eui, now),
                Step::Send(message) => {
                    field.send(
                        dev_eui,
                        message.f_port,
                        message.payload,
                        message.is_confirmed,
                        now,
                    );
                }
            });
            if done.await.is_none() {
                return;
            }
        }
    }
}

/// What the devices' clocks say: that of this machine.
fn unix_secs() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
