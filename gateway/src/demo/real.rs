//! The demo with somebody else's server: what the gateway counts is all that is known.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cabinet::Cabinet;
use super::screen::Screen;
use super::site::Site;
use super::tally::Tally;
use super::view::News;
use super::{REDRAW, SEED, SETTLES};
use crate::cli::DemoOptions;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;

pub(super) async fn play(
    options: &DemoOptions,
    uri: &str,
    cabinet: &Cabinet,
    folder: &Path,
) -> Result<(), Failure> {
    let mut interrupt = Interrupt::catch()?;
    let site = Site::start(cabinet.configuration(uri, folder)?, SEED)?;
    let street = cabinet.switch_on(SEED).await;
    let _street = street.map_err(|error| Failure::cannot("start a packet forwarder", &error))?;
    let mut show = Show {
        site,
        screen: Screen::new(options.json, cabinet.describe(), uri),
        states: BTreeMap::new(),
    };
    show.screen.begin()?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut interrupted = show.play_until(end, &mut interrupt).await?;
    let mut outcome = show.close(options.keep).await?;
    if options.keep && !interrupted {
        let never = end + Duration::from_secs(10 * 365 * 86_400);
        interrupted = show.play_until(never, &mut interrupt).await?;
        outcome = show.close(false).await?;
    }
    show.site.stop().await?;
    if interrupted {
        return Ok(());
    }
    outcome.map_err(|reason| Failure::new(ExitStatus::Failed, reason))
}

struct Show {
    site: Site,
    screen: Screen,
    states: BTreeMap<String, String>,
}

impl Show {
    /// Plays until a moment; says whether it was interrupted before.
    async fn play_until(&mut self, end: Instant, interrupt: &mut Interrupt) -> Result<bool, Failure> {
        while Instant::now() < end {
            let wake = (Instant::now() + REDRAW).min(end);
            tokio::select! {
                () = tokio::time::sleep_until(wake.into()) => self.look().await?,
                () = interrupt.comes() => return Ok(true),
            }
        }
        Ok(false)
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let tally = self.site.tally().await?;
        let mut news = Vec::new();
        for (endpoint, state) in tally.states() {
            let before = self.states.insert(endpoint.to_owned(), state.to_owned());
            if before.as_deref() != Some(state) {
                news.push(News::State {
                    endpoint: endpoint.to_owned(),
                    state: state.to_owned(),
                });
            }
        }
        self.screen.tell(&news)?;
        self.screen.draw_tally(&tally)
    }

    async fn close(&mut self, goes_on: bool) -> Result<Result<(), String>, Failure> {
        let tally = self.settled().await?;
        let outcome = outcome(&tally);
        self.screen.finish(None, &tally, &outcome)?;
        if goes_on {
            self.screen.go_on()?;
        }
        Ok(outcome)
    }

    async fn settled(&self) -> Result<Tally, Failure> {
        let end = Instant::now() + SETTLES;
        loop {
            let tally = self.site.tally().await?;
            if tally.total().waiting == 0 || Instant::now() >= end {
                return Ok(tally);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn outcome(tally: &Tally) -> Result<(), String> {
    let total = tally.total();
    if total.delivered_live + total.delivered_late == 0 {
        return Err("the server took no reading".to_owned());
    }
    if total.lost > 0 {
        return Err(format!("the server will never get {} readings", total.lost));
    }
    Ok(())
}
