//! Simulates a vLLM of any minor version under load, step by step: its scheduler as far as it affects the counters, and the really computed
//! tokens.

use std::collections::VecDeque;

pub(super) const BLOCK: f64 = 16.0;
/// Seconds of a step in addition to its prompt tokens.
const STEP: f64 = 0.02;
const PROMPT_TOKENS_PER_SECOND: f64 = 100_000.0;

/// A kind of request.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Its relative frequency.
    pub(super) weight: f64,
    /// Mean tokens of the prompt.
    pub(super) prompt: f64,
    /// Cached share of the prompt.
    pub(super) cached: f64,
    /// Mean tokens of the output.
    pub(super) output: f64,
}

impl Kind {
    pub(super) const fn of(weight: f64, prompt: f64, cached: f64, output: f64) -> Self {
        Self {
            weight,
            prompt,
            cached,
            output,
        }
    }
}

/// The load of a server.
#[derive(Clone)]
pub(super) struct Load {
    /// The kinds of requests, and their start times.
    pub(super) kinds: Vec<(f64, Vec<Kind>)>,
    pub(super) per_second: f64,
    /// Requests that arrive together.
    pub(super) burst: usize,
    pub(super) blocks: f64,
    pub(super) token_budget: f64,
    pub(super) seed: u64,
}

impl Load {
    /// Two requests per second, with ample capacity.
    pub(super) fn of(kinds: Vec<Kind>) -> Self {
        Self {
            kinds: vec![(0.0, kinds)],
            per_second: 2.0,
            burst: 1,
            blocks: 20_000.0,
            token_budget: 2048.0,
            seed: 1,
        }
    }
}

#[derive(Clone, Default)]
struct Request {
    arrived: f64,
    prompt: f64,
    cached: f64,
    output: f64,
    /// Tokens in the KV cache, including found ones.
    done: f64,
    shared: f64,
    generated: f64,
    computed: f64,
    blocks: f64,
    preempted: bool,
}

impl Request {
    fn tokens(&self) -> f64 {
        self.prompt + self.generated
    }

    fn more_blocks(&self, tokens: f64) -> f64 {
        (((self.done + tokens - self.shared) / BLOCK).ceil() - self.blocks).max(0.0)
    }
}

/// Sums since the start, as vLLM counts them.
#[derive(Clone, Default)]
pub(super) struct Counted {
    pub(super) queries: f64,
    pub(super) hits: f64,
    pub(super) prompts: f64,
    pub(super) first_tokens: f64,
    pub(super) first_token_seconds: f64,
    pub(super) generated: f64,
    pub(super) decoded: f64,
    pub(super) iterations: f64,
    pub(super) iteration_tokens: f64,
    pub(super) preemptions: f64,
    pub(super) finished: f64,
    pub(super) finished_prompts: f64,
    pub(super) finished_computed: f64,
    pub(super) finished_output: f64,
    /// The true number, which vLLM exports from 0.16 on.
    pub(super) computed: f64,
}

pub(super) struct Server {
    pub(super) minor: u32,
    pub(super) now: f64,
    pub(super) counted: Counted,
    pub(super) load: Load,
    random: u64,
    next_arrival: f64,
    free: f64,
    waiting: VecDeque<Request>,
    running: Vec<Request>,
}

impl Server {
    pub(super) fn new(minor: u32, load: Load) -> Self {
        Self {
            minor,
            now: 0.0,
            counted: Counted::default(),
            random: load.seed,
            next_arrival: 0.0,
            free: load.blocks,
            waiting: VecDeque::new(),
            running: Vec::new(),
            load,
        }
    }

    pub(super) fn run_until(&mut self, time: f64) {
        while self.now < time {
            self.step();
        }
    }

    pub(super) fn running(&self) -> f64 {
        self.running.len() as f64
    }

    pub(super) fn waiting(&self) -> f64 {
        self.waiting.len() as f64
    }

    pub(super) fn kv_usage(&self) -> f64 {
        1.0 - self.free / self.load.blocks
    }

    fn uniform(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.uniform()).ln() * mean
    }

    fn arrive(&mut self) {
        while self.next_arrival <= self.now {
            for _ in 0..self.load.burst {
                let request = self.request();
                self.waiting.push_back(request);
            }
            let mean = self.load.burst as f64 / self.load.per_second;
            self.next_arrival += self.exponential(mean);
        }
    }

    fn request(&mut self) -> Request {
        let now = self.next_arrival;
        let kinds = self.load.kinds.iter().rev();
        let kinds = kinds
            .clone()
            .find(|(from, _)| *from <= now)
            .unwrap()
            .1
            .clone();
        let mut left = self.uniform() * kinds.iter().map(|kind| kind.weight).sum::<f64>();
        let kind = kinds
            .iter()
            .find(|kind| {
                left -= kind.weight;
                left <= 0.0
            })
            .unwrap_or(&kinds[0]);
        let prompt = (kind.prompt * (0.6 + 0.8 * self.uniform())).floor();
        Request {
            arrived: now,
            prompt,
            cached: (prompt * kind.cached / BLOCK).floor() * BLOCK,
            output: self.exponential(kind.output).ceil().max(1.0),
            ..Request::default()
        }
    }

    fn step(&mut self) {
        self.arrive();
        let mut budget = self.load.token_budget;
        let mut scheduled = self.schedule_running(&mut budget);
        if scheduled.len() == self.running.len() {
            scheduled.extend(self.admit(&mut budget));
        }
        let prompt_tokens: f64 = scheduled.iter().filter(|tokens| **tokens > 1.0).sum();
        self.now += STEP + prompt_tokens / PROMPT_TOKENS_PER_SECOND;
        self.take_outputs(&scheduled);
    }

    /// Tokens that each running request computes. If blocks are short, the last ones are preempted, and nothing is admitted.
    fn schedule_running(&mut self, budget: &mut f64) -> Vec<f64> {
        let mut scheduled = Vec::new();
        let mut preempted = Vec::new();
        while scheduled.len() < self.running.len() {
            let place = scheduled.len();
            let request = &self.running[place];
            let tokens = (request.tokens() - request.done).clamp(0.0, *budget);
            let more = request.more_blocks(tokens);
            if more > self.free {
                preempted.extend(self.running.pop());
                self.free += preempted.last().map_or(0.0, |last: &Request| last.blocks);
                continue;
            }
            self.free -= more;
            self.running[place].blocks += more;
            *budget -= tokens;
            scheduled.push(tokens);
        }
        if !preempted.is_empty() {
            *budget = 0.0;
        }
        for request in preempted {
            self.counted.preemptions += 1.0;
            self.waiting.push_front(Request {
                blocks: 0.0,
                done: 0.0,
                preempted: true,
                ..request
            });
        }
        scheduled
    }

    /// Looks requests up and admits them while there are blocks; the one that has to wait is looked up at every step.
    fn admit(&mut self, budget: &mut f64) -> Vec<f64> {
        let mut scheduled = Vec::new();
        while *budget > 0.0 {
            let Some(mut request) = self.waiting.pop_front() else {
                break;
            };
            // What it computed before its preemption is still there, except the last block.
            let found = if request.preempted {
                request
                    .cached
                    .max(((request.tokens() - 1.0) / BLOCK).floor() * BLOCK)
            } else {
                request.cached
            };
            if !request.preempted || self.minor < 11 {
                self.counted.queries += request.tokens();
                self.counted.hits += found;
            }
            let tokens = (request.tokens() - found).min(*budget);
            request.shared = request.cached;
            request.done = found;
            let more = request.more_blocks(tokens);
            if more > self.free {
                self.waiting.push_front(request);
                break;
            }
            self.free -= more;
            request.blocks = more;
            if !request.preempted {
                request.computed = request.prompt - found;
            }
            *budget -= tokens;
            scheduled.push(tokens);
            self.running.push(request);
        }
        scheduled
    }

    fn take_outputs(&mut self, scheduled: &[f64]) {
        let (now, counted) = (self.now, &mut self.counted);
        let before = (counted.generated, counted.iteration_tokens);
        for (request, tokens) in self.running.iter_mut().zip(scheduled) {
            request.done += tokens;
            if request.done < request.tokens() || *tokens <= 0.0 {
                continue;
            }
            counted.generated += 1.0;
            if request.generated > 0.0 {
                counted.decoded += 1.0;
            } else {
                counted.prompts += request.prompt;
                counted.computed += request.computed;
                counted.first_tokens += 1.0;
                counted.first_token_seconds += now - request.arrived;
                counted.iteration_tokens += if self.minor < 23 {
                    request.prompt
                } else {
                    request.computed
                };
            }
            request.generated += 1.0;
            if request.generated >= request.output {
                counted.finished += 1.0;
                counted.finished_prompts += request.prompt;
                counted.finished_computed += request.computed;
                counted.finished_output += request.output;
                self.free += request.blocks;
            }
        }
        counted.iteration_tokens += counted.generated - before.0;
        counted.iterations += f64::from(u8::from(counted.generated > before.0));
        self.running
            .retain(|request| request.generated < request.output);
    }
}
