//! The runtimes in which a scenario runs. Each can stop being driven, be driven again, and be shut down.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Id, Runtime},
    sync::Notify,
    time::{advance, sleep},
};

/// The number of runtimes. The first one is driven all the time.
pub(crate) const RUNTIMES: usize = 3;

pub(crate) trait Stage {
    fn handle(&self, runtime: usize) -> &Handle;

    /// Drives the runtimes for this time.
    fn pass(&mut self, time: Duration);

    /// Drives a runtime no more. Returns its identity.
    fn stop(&mut self, runtime: usize) -> Id;

    /// Drives a runtime again, if it is not driven.
    fn resume(&mut self, runtime: usize);

    /// Shuts a runtime down, and starts another one in its place.
    fn shut_down(&mut self, runtime: usize);
}

/// Runtimes with a paused clock. One thread drives them in turns.
pub(crate) struct Turns {
    passed: Duration,
    /// At first there is one. The others are added when they are needed.
    runtimes: Vec<Paused>,
}

struct Paused {
    runtime: Runtime,
    /// How far its clock is.
    at: Duration,
    is_driven: bool,
}

impl Paused {
    fn new(at: Duration) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut paused = Self { runtime, at: Duration::ZERO, is_driven: true };
        paused.catch_up(at);
        paused
    }

    fn catch_up(&mut self, at: Duration) {
        let behind = at.saturating_sub(self.at);
        self.runtime.block_on(async { advance(behind).await });
        self.at = at;
    }

    fn pass(&mut self, time: Duration) {
        self.runtime.block_on(async { sleep(time).await });
        self.at += time;
    }
}

impl Turns {
    pub(crate) fn new(runtimes: usize) -> Self {
        Self { passed: Duration::ZERO, runtimes: (0..runtimes).map(|_| Paused::new(Duration::ZERO)).collect() }
    }
}

impl Stage for Turns {
    fn handle(&self, runtime: usize) -> &Handle {
        self.runtimes[runtime].runtime.handle()
    }

    fn pass(&mut self, time: Duration) {
        // Short enough that what one runtime brings reaches the others in time.
        let turns = if self.runtimes.len() == 1 { 1 } else { time.as_millis() / 500 + 1 };
        let turn = time / u32::try_from(turns).unwrap();
        for _ in 0..turns {
            self.passed += turn;
            self.runtimes.iter_mut().filter(|paused| paused.is_driven).for_each(|paused| paused.pass(turn));
        }
    }

    fn stop(&mut self, runtime: usize) -> Id {
        self.runtimes[runtime].is_driven = false;
        self.handle(runtime).id()
    }

    fn resume(&mut self, runtime: usize) {
        self.runtimes[runtime].catch_up(self.passed);
        self.runtimes[runtime].is_driven = true;
    }

    fn shut_down(&mut self, runtime: usize) {
        self.runtimes[runtime] = Paused::new(self.passed);
    }
}

/// Runtimes with a real clock. Each has a thread that drives it.
pub(crate) struct Threads(Vec<Driven>);

struct Driven {
    handle: Handle,
    pause: Arc<Notify>,
    /// The thread says here that it has stopped.
    stopped: mpsc::Receiver<()>,
    is_running: bool,
    /// Tells the thread to go on. When it is dropped, the thread shuts its runtime down.
    resume: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn new() -> Self {
        Self((0..RUNTIMES).map(|_| Driven::new()).collect())
    }
}

impl Driven {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let (handle, pause) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let ((resume, resumed), (stop, stopped)) = (mpsc::channel(), mpsc::channel());
        let paused = Arc::clone(&pause);
        let thread = std::thread::spawn(move || {
            loop {
                runtime.block_on(paused.notified());
                let _ = stop.send(());
                if resumed.recv().is_err() {
                    return;
                }
            }
        });
        Self { handle, pause, stopped, is_running: true, resume: Some(resume), thread: Some(thread) }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.resume = None;
        self.pause.notify_one();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Stage for Threads {
    fn handle(&self, runtime: usize) -> &Handle {
        &self.0[runtime].handle
    }

    #[expect(clippy::disallowed_methods, reason = "the threads of the runtimes go on meanwhile")]
    fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn stop(&mut self, runtime: usize) -> Id {
        let driven = &mut self.0[runtime];
        if std::mem::take(&mut driven.is_running) {
            driven.pause.notify_one();
            driven.stopped.recv().unwrap();
        }
        driven.handle.id()
    }

    fn resume(&mut self, runtime: usize) {
        let driven = &mut self.0[runtime];
        if !std::mem::replace(&mut driven.is_running, true) {
            driven.resume.as_ref().unwrap().send(()).unwrap();
        }
    }

    fn shut_down(&mut self, runtime: usize) {
        self.0[runtime] = Driven::new();
    }
}
