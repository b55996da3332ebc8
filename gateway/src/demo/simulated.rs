//! The demo with the simulated server, of which everything is known: what it got, what twice, what not.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;
use ucifi_sim::server::io::{self as server_io, Running as Server};
use ucifi_sim::server::{Event, LwM2mServer, Origin, Transmission};

use super::cabinet::Cabinet;
use super::outage::Outage;
use super::screen::Screen;
use super::script::Script;
use super::site::Site;
use super::tally::{Arrivals, Tally};
use super::view::View;
use super::{REDRAW, SEED, SETTLES};
use crate::cli::DemoOptions;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;

/// How long the server's events of a moment may take to be told.
const EVENTS_SETTLE: Duration = Duration::from_millis(30);

/// Everything that plays.
struct Stage {
    server: Server,
    site: Site,
    view: View,
    arrivals: Arrivals,
    script: Script,
    outage: Outage,
    screen: Screen,
}

pub(super) async fn play(options: &DemoOptions, cabinet: &Cabinet, folder: &Path) -> Result<(), Failure> {
    let mut interrupt = Interrupt::catch()?;
    let start = Instant::now();
    let run = Duration::from_secs(options.seconds);
    let mut stage = Stage::set(options, cabinet, folder, (start, run)).await?;
    stage.screen.begin()?;
    let mut interrupted = stage.play_until(start + run, &mut interrupt).await?;
    if !interrupted {
        interrupted = stage.finish_script(&mut interrupt).await?;
    }
    let mut outcome = stage.close(options.keep).await?;
    if options.keep && !interrupted {
        let never = start + Duration::from_secs(10 * 365 * 86_400);
        interrupted = stage.play_until(never, &mut interrupt).await?;
        outcome = stage.close(false).await?;
    }
    stage.site.stop().await?;
    if interrupted {
        return Ok(());
    }
    outcome.map_err(|reason| Failure::new(ExitStatus::Failed, reason))
}

impl Stage {
    async fn set(
        options: &DemoOptions,
        cabinet: &Cabinet,
        folder: &Path,
        (start, run): (Instant, Duration),
    ) -> Result<Self, Failure> {
        let objects = Arc::new(ObjectTable::builtin());
        let server = LwM2mServer::new(objects.clone(), Transmission::default(), SEED);
        let server = server_io::start((Ipv4Addr::LOCALHOST, 0).into(), server)
            .await
            .map_err(|error| Failure::cannot("listen on loopback", &error))?;
        let uri = format!("coap://{}", server.address);
        let site = Site::start(cabinet.configuration(&uri, folder)?, SEED)?;
        let street = cabinet.switch_on(SEED).await;
        let street = street.map_err(|error| Failure::cannot("start a packet forwarder", &error))?;
        Ok(Self {
            site,
            view: View::new(objects, start),
            arrivals: Arrivals::default(),
            script: Script::new(server.handle.clone(), cabinet.line(), street),
            outage: Outage::plan(server.handle.clone(), start, run),
            screen: Screen::new(options.json, cabinet.describe(), &uri),
            server,
        })
    }

    /// Plays until a moment; says whether it was interrupted before.
    async fn play_until(&mut self, end: Instant, interrupt: &mut Interrupt) -> Result<bool, Failure> {
        self.play_while(|_| true, end, interrupt).await
    }

    /// Goes on until something was switched on each link: in a short run with an outage there may be no time for it.
    async fn finish_script(&mut self, interrupt: &mut Interrupt) -> Result<bool, Failure> {
        let end = Instant::now() + SETTLES;
        self.play_while(|view| view.outcome().is_err(), end, interrupt)
            .await
    }

    /// Plays as long as something holds, at most until a moment; says whether it was interrupted before.
    async fn play_while(
        &mut self,
        holds: impl Fn(&View) -> bool,
        end: Instant,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Failure> {
        while holds(&self.view) && Instant::now() < end {
            let wake = (Instant::now() + REDRAW).min(end);
            tokio::select! {
                event = self.server.events.recv() => {
                    let Some(event) = event else { break };
                    self.hear(event)?;
                }
                () = tokio::time::sleep_until(wake.into()) => self.step().await?,
                () = interrupt.comes() => return Ok(true),
            }
        }
        Ok(false)
    }

    fn hear(&mut self, event: Event) -> Result<(), Failure> {
        if let Event::Received {
            endpoint,
            origin: Origin::Send,
            values,
            ..
        } = &event
        {
            self.arrivals.note(endpoint, values);
        }
        let news = self.view.handle_event(event);
        self.screen.tell(&news)
    }

    async fn step(&mut self) -> Result<(), Failure> {
        let outage = self.outage.step().await;
        self.screen.tell(outage.as_slice())?;
        // A server that is away asks nobody anything.
        if !self.outage.is_away() {
            let news = self.script.step(&mut self.view).await;
            self.screen.tell(&news)?;
        }
        self.screen.draw(&self.view)
    }

    /// Waits until nothing is on its way, and shows what became of everything.
    async fn close(&mut self, goes_on: bool) -> Result<Result<(), String>, Failure> {
        let tally = self.settled().await?;
        let outcome = self.view.outcome().and_then(|()| nothing_is_missing(&tally));
        self.screen.draw(&self.view)?;
        self.screen.finish(Some(&self.view), &tally, &outcome)?;
        if goes_on {
            self.screen.go_on()?;
        }
        Ok(outcome)
    }

    /// Returns the counts of a moment in which no reading is on its way, or, if there is none in a while, the last ones.
    async fn settled(&mut self) -> Result<Tally, Failure> {
        let end = Instant::now() + SETTLES;
        loop {
            let before = self.site.tally().await?;
            tokio::time::sleep(EVENTS_SETTLE).await;
            while let Ok(event) = self.server.events.try_recv() {
                self.hear(event)?;
            }
            let mut tally = self.site.tally().await?;
            let is_settled = tally == before && tally.total().waiting == 0;
            if is_settled || Instant::now() >= end {
                tally.compare(&self.arrivals);
                return Ok(tally);
            }
        }
    }
}

fn nothing_is_missing(tally: &Tally) -> Result<(), String> {
    let total = tally.total();
    match (total.lost, total.waiting) {
        (0, 0) => Ok(()),
        (0, waiting) => Err(format!("{waiting} readings still wait for the server")),
        (lost, _) => Err(format!("{lost} readings did not arrive at the server")),
    }
}
