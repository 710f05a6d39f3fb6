//! All the SQL on the tables.

use crate::columns::{COLUMNS, FORMAT};
use crate::schema::{PURGE_SHIFT, Tables};

/// The server's clock, in microseconds. Never `now()`: that is when the transaction began.
const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The most that a counter holds: a `u32` of the record.
const COUNTER_LIMIT: u32 = u32::MAX;

/// The statements of the operations, which are prepared once for each connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Claim,
    Complete,
    Delete,
    Insert,
    Look,
    RecordStep,
    Release,
    Renew,
    Update,
    UpdateSteps,
}

impl Verb {
    pub(crate) const COUNT: usize = Self::UpdateSteps as usize + 1;
}

/// The texts of the statements on one table.
#[derive(Debug)]
pub(crate) struct Sql {
    verbs: [String; Verb::COUNT],
    pub(crate) claim_within: String,
    pub(crate) complete_within: String,
    pub(crate) complete_first_within: String,
    #[cfg(any(feature = "deadpool", feature = "sqlx"))]
    pub(crate) record_step_within: String,
    pub(crate) count: String,
    pub(crate) list: String,
    pub(crate) list_steps: String,
    #[cfg(any(feature = "deadpool", feature = "sqlx"))]
    pub(crate) outbox: OutboxSql,
    pub(crate) purge: String,
}

impl Sql {
    pub(crate) fn new(tables: &Tables, channel: &str) -> Self {
        let names = Names {
            record: tables.record(),
            step: tables.step(),
            channel: channel.to_owned(),
        };
        let mut verbs = [const { String::new() }; Verb::COUNT];
        for (verb, text) in [
            (Verb::Claim, names.claim()),
            (Verb::Complete, names.complete()),
            (Verb::Delete, names.delete()),
            (Verb::Insert, names.insert()),
            (Verb::Look, names.look()),
            (Verb::RecordStep, names.record_step("1")),
            (Verb::Release, names.release()),
            (Verb::Renew, names.renew()),
            (Verb::Update, names.update("")),
            (Verb::UpdateSteps, names.update(&names.put_steps())),
        ] {
            verbs[verb as usize] = text;
        }
        Self {
            verbs,
            claim_within: names.claim_within(),
            complete_within: names.complete_within(),
            complete_first_within: names.complete_first_within(),
            count: names.count(),
            list: names.list("true"),
            list_steps: names.list(&names.has_steps()),
            #[cfg(any(feature = "deadpool", feature = "sqlx"))]
            outbox: OutboxSql::new(&tables.outbox()),
            #[cfg(any(feature = "deadpool", feature = "sqlx"))]
            record_step_within: names.record_step_within(),
            purge: names.purge(),
        }
    }

    pub(crate) fn text(&self, verb: Verb) -> &str {
        &self.verbs[verb as usize]
    }
}

/// The statements on the outbox.
#[cfg(any(feature = "deadpool", feature = "sqlx"))]
#[derive(Debug)]
pub(crate) struct OutboxSql {
    /// `$1` number, `$2` pause in microseconds.
    pub(crate) put_back: String,
    /// `$1` number.
    pub(crate) remove: String,
    /// `$1` id, `$2` topic, `$3` payload.
    pub(crate) stage: String,
    /// `$1` how many, `$2` for how many microseconds. What others take at the same time is left to them.
    pub(crate) take: String,
}

#[cfg(any(feature = "deadpool", feature = "sqlx"))]
impl OutboxSql {
    fn new(outbox: &str) -> Self {
        Self {
            put_back: format!("UPDATE {outbox} SET due_at = {CLOCK} + $2 WHERE number = $1"),
            remove: format!("DELETE FROM {outbox} WHERE number = $1"),
            stage: format!(
                "INSERT INTO {outbox} (due_at, attempt, id, topic, payload) VALUES (0, 0, $1, $2, $3)"
            ),
            take: format!(
                "WITH taken AS (
                     UPDATE {outbox} SET due_at = {CLOCK} + $2, attempt = attempt + 1
                      WHERE number = ANY (ARRAY(
                          SELECT number FROM {outbox} WHERE due_at <= {CLOCK}
                           ORDER BY number LIMIT $1 FOR UPDATE SKIP LOCKED))
                     RETURNING number, attempt, id, topic, payload)
                 SELECT number, attempt, id, topic, payload FROM taken ORDER BY number"
            ),
        }
    }
}

struct Names {
    record: String,
    step: String,
    channel: String,
}

impl Names {
    /// Inserts a record of a new key, or reads the one that is there. It answers with one row: with
    /// `granted`, with a record, or with neither, if the record came while the statement ran. Then
    /// it has to be looked up by another statement, which sees it.
    ///
    /// A duplicate finds its record before anything is inserted, so it locks and writes nothing. What
    /// it finds is the record at the moment when the statement began, which is as good as any other
    /// moment of the call.
    ///
    /// `$1` key, `$2` owner, `$3` fingerprint, `$4` at most once, `$5` keep in nanoseconds, `$6` keep
    /// and lease in microseconds.
    fn claim(&self) -> String {
        let clock = format!("n AS MATERIALIZED (SELECT {CLOCK} AS now)");
        self.claim_with(&clock, "", "n")
    }

    /// Like [`claim`](Self::claim), in a transaction that others may hold up. They are waited for as
    /// long as `$7` says, in the words of `lock_timeout`, which is then again what it was.
    ///
    /// The clock is read after the timeout was set, the record is inserted with that time, and the last
    /// column is computed when the row is sent, which is after that.
    fn claim_within(&self) -> String {
        let clock = format!(
            "t AS MATERIALIZED (
                 SELECT current_setting('lock_timeout') AS before,
                        set_config('lock_timeout', $7, true) AS ours),
             n AS MATERIALIZED (SELECT {CLOCK} AS now FROM t)"
        );
        let restored = ", set_config('lock_timeout', t.before, true)";
        self.claim_with(&clock, restored, "n CROSS JOIN t")
    }

    /// A claim after `clock`, a part that says what time it is `now` in `n`. `from` has that part in it,
    /// and what is selected `more`.
    fn claim_with(&self, clock: &str, more: &str, from: &str) -> String {
        let Self { record, .. } = self;
        let columns = COLUMNS.join(", ");
        format!(
            "WITH {clock},
             r AS MATERIALIZED (SELECT * FROM {record} WHERE key = $1),
             added AS (
                 INSERT INTO {record} ({columns}, version)
                 SELECT $1, {FORMAT}, 'P', $2, n.now, 1, 0, NULL, NULL, $4, $3, n.now, $5,
                        n.now + $6, 0, false, 0, NULL, 0, '', n.now
                   FROM n WHERE NOT EXISTS (SELECT FROM r)
                 ON CONFLICT (key) DO NOTHING RETURNING fence)
             SELECT n.now, {read}, {steps}, added.fence{more}
               FROM {from} LEFT JOIN added ON true LEFT JOIN r ON true",
            read = read(),
            steps = self.steps("true"),
        )
    }

    /// Completes the record whose claim is in the same transaction: `$1` to `$7` as for
    /// [`complete`](Self::complete), `$8` is what to tell those who wait. If it is not there, this fails,
    /// and with it the transaction: a `COMMIT` that has been sent already rolls back then.
    fn complete_within(&self) -> String {
        let Self { record, step, .. } = self;
        format!(
            "WITH done AS (
                 UPDATE {record} r SET state = $4, ending = NULL, codec = $5, result = $6,
                        completed_at = n.now, expires_at = n.now + $7, steps = 0, waiter = false,
                        version = r.version + 1
                   FROM (SELECT {CLOCK} AS now) n, {record} b
                  WHERE r.key = $1 AND r.owner = $2 AND r.fence = $3 AND r.format = {FORMAT}
                    AND r.state = 'P' AND b.key = r.key
                 RETURNING b.waiter, b.steps),
             removed AS (
                 DELETE FROM {step} s USING done WHERE done.steps > 0 AND s.key = $1)
             SELECT 1 / count(*),
                    CASE WHEN bool_or(waiter) THEN pg_notify('{channel}', $8) END
               FROM done",
            channel = self.channel,
        )
    }

    /// Like [`complete_within`](Self::complete_within), with the parameters `$1` to `$7`, for a first attempt:
    /// its record is seen by nobody before the commit, so that it has no waiters, and it has no steps. Half
    /// as much work for the server.
    fn complete_first_within(&self) -> String {
        format!(
            "WITH done AS (
                 UPDATE {record} r SET state = $4, codec = $5, result = $6,
                        completed_at = n.now, expires_at = n.now + $7, version = r.version + 1
                   FROM (SELECT {CLOCK} AS now) n
                  WHERE r.key = $1 AND r.owner = $2 AND r.fence = $3 AND r.format = {FORMAT}
                    AND r.state = 'P' AND r.attempt = 1 AND r.steps = 0 AND NOT r.waiter
                 RETURNING 1)
             SELECT 1 / count(*) FROM done",
            record = self.record,
        )
    }

    /// Reads the time, and the record if there is one.
    ///
    /// `$1` key, `$2` whether to read steps, `$3` the only one to read, or NULL.
    fn look(&self) -> String {
        format!(
            "SELECT n.now, {read}, {steps}
               FROM (SELECT {CLOCK} AS now) n LEFT JOIN {record} r ON r.key = $1",
            read = read(),
            steps = self.steps("$2 AND ($3 IS NULL OR s.name = $3)"),
            record = self.record,
        )
    }

    /// The names and the values of the steps, as two arrays; NULL for a record that has none.
    fn steps(&self, which: &str) -> String {
        let array = |column: &str| {
            format!(
                "CASE WHEN r.steps > 0 THEN ARRAY(
                     SELECT s.{column} FROM {step} s
                      WHERE s.key = r.key AND s.seq < r.steps AND {which} ORDER BY s.seq) END",
                step = self.step,
            )
        };
        [array("name"), array("value")].join(", ")
    }

    /// Does to the record that `$1`, `$2`, `$3`, a key, an owner and a fence, hold what the protocol
    /// does where nobody waits for it. No row: it has to be judged in full.
    fn shortcut(&self, set: &str, only_if: &str) -> String {
        format!(
            "UPDATE {record} r SET {set}, version = r.version + 1
               FROM (SELECT {CLOCK} AS now) n
              WHERE r.key = $1 AND r.owner = $2 AND r.fence = $3 AND r.format = {FORMAT}
                AND r.expires_at > n.now AND {only_if}
             RETURNING 1",
            record = self.record,
        )
    }

    /// `$4` state, `$5` codec, `$6` result, `$7` ttl in microseconds.
    fn complete(&self) -> String {
        self.shortcut(
            "state = $4, ending = NULL, codec = $5, result = $6, completed_at = n.now,
             expires_at = n.now + $7",
            "r.state IN ('P', 'I') AND r.steps = 0 AND NOT r.waiter",
        )
    }

    /// `$4` lease in microseconds.
    fn renew(&self) -> String {
        self.shortcut(
            "expires_at = n.now + r.keep_nanos / 1000 + $4",
            "r.state = 'P'",
        )
    }

    /// `$4` ending, `$5` how many failures to count.
    fn release(&self) -> String {
        let set = format!(
            "state = 'R', ending = $4, failures = least(r.failures + $5, {COUNTER_LIMIT}),
             expires_at = n.now + r.keep_nanos / 1000"
        );
        self.shortcut(&set, "r.state IN ('P', 'I') AND NOT r.waiter")
    }

    /// Records a step that is not there yet, and renews the lease. No row: it has to be judged in full.
    ///
    /// `$4` lease in microseconds, `$5` name, `$6` value.
    fn record_step(&self, answer: &str) -> String {
        let Self { record, step, .. } = self;
        format!(
            "WITH own AS (
                 UPDATE {record} r SET expires_at = n.now + r.keep_nanos / 1000 + $4,
                        steps = r.steps + 1, version = r.version + 1
                   FROM (SELECT {CLOCK} AS now) n
                  WHERE r.key = $1 AND r.owner = $2 AND r.fence = $3 AND r.format = {FORMAT}
                    AND r.expires_at > n.now AND r.state = 'P' AND NOT EXISTS (
                        SELECT FROM {step} s
                         WHERE s.key = r.key AND s.seq < r.steps AND s.name = $5)
                 RETURNING r.key, r.steps),
             added AS (
                 INSERT INTO {step} (key, seq, name, value)
                 SELECT own.key, own.steps - 1, $5, $6 FROM own
                 ON CONFLICT (key, seq) DO UPDATE SET name = excluded.name, value = excluded.value)
             SELECT {answer} FROM own"
        )
    }

    /// Like [`record_step`](Self::record_step), and fails if there is nothing to do: a `COMMIT` that has been
    /// sent already rolls back then.
    #[cfg(any(feature = "deadpool", feature = "sqlx"))]
    fn record_step_within(&self) -> String {
        self.record_step("1 / count(*)")
    }

    /// Writes all of a record, where `$21` and `$22` are the fence and the version that it was read
    /// with. `$23` is what to tell those who wait, or NULL.
    fn update(&self, more: &str) -> String {
        let set: Vec<_> = (1..COLUMNS.len())
            .map(|at| format!("{} = ${}", COLUMNS[at], at + 1))
            .collect();
        format!(
            "WITH changed AS (
                 UPDATE {record} SET {set}, version = version + 1
                  WHERE key = $1 AND fence = $21 AND version = $22 RETURNING key){more}
             SELECT {tell} FROM changed",
            record = self.record,
            set = set.join(", "),
            tell = self.tell(23),
        )
    }

    /// Adds the steps `$25`, with the values `$26`, to the first `$24`, and removes all beyond.
    fn put_steps(&self) -> String {
        let Self { step, .. } = self;
        format!(
            ",
             added AS (
                 INSERT INTO {step} (key, seq, name, value)
                 SELECT changed.key, $24 + s.at - 1, s.name, s.value
                   FROM changed, unnest($25::bytea[], $26::bytea[]) WITH ORDINALITY s (name, value, at)
                 ON CONFLICT (key, seq) DO UPDATE SET name = excluded.name, value = excluded.value),
             removed AS (
                 DELETE FROM {step} s USING changed
                  WHERE s.key = changed.key AND s.seq >= $24 + cardinality($25::bytea[]))"
        )
    }

    /// Inserts all of a record. `$21` is its version, `$24` to `$26` are its steps. No row: somebody was
    /// quicker.
    fn insert(&self) -> String {
        let values: Vec<_> = (1..=COLUMNS.len()).map(|at| format!("${at}")).collect();
        format!(
            "WITH changed AS (
                 INSERT INTO {record} ({columns}, version) VALUES ({values}, $21)
                 ON CONFLICT (key) DO NOTHING RETURNING key){steps}
             SELECT 1 FROM changed",
            record = self.record,
            columns = COLUMNS.join(", "),
            values = values.join(", "),
            steps = self.put_steps(),
        )
    }

    /// `$1` key, `$2` fence, `$3` version, `$4` what to tell those who wait.
    fn delete(&self) -> String {
        format!(
            "WITH changed AS (
                 DELETE FROM {record} WHERE key = $1 AND fence = $2 AND version = $3
                 RETURNING key),
             removed AS (DELETE FROM {step} s USING changed WHERE s.key = changed.key)
             SELECT {tell} FROM changed",
            record = self.record,
            step = self.step,
            tell = self.tell(4),
        )
    }

    /// The message is sent when the change is committed, and not without it.
    fn tell(&self, parameter: usize) -> String {
        format!(
            "CASE WHEN ${parameter}::text IS NOT NULL
                  THEN pg_notify('{channel}', ${parameter}) END",
            channel = self.channel,
        )
    }

    /// Only what is unfinished has steps, so this does not look at the rest.
    fn has_steps(&self) -> String {
        format!(
            "r.steps > 0 AND r.key IN (
                 SELECT s.key FROM {step} s WHERE s.key > $1 AND ($2::text IS NULL OR s.key < $2))",
            step = self.step,
        )
    }

    /// `$1` and `$2` between which keys, `$3` state, `$4` age in microseconds, `$5` how many.
    fn list(&self, which: &str) -> String {
        format!(
            "SELECT n.now, {read}, {steps}
               FROM {record} r, (SELECT {CLOCK} AS now) n
              WHERE {which} AND r.key > $1 AND ($2::text IS NULL OR r.key < $2)
                AND ($3::text IS NULL OR r.state = $3) AND r.expires_at > n.now
                AND greatest(n.now - r.fence, 0) >= $4
              ORDER BY r.key LIMIT $5",
            read = read(),
            steps = self.steps("true"),
            record = self.record,
        )
    }

    fn count(&self) -> String {
        format!(
            "SELECT r.state, r.expires_at <= n.now, r.expires_at - r.keep_nanos / 1000 <= n.now,
                    count(*)
               FROM {record} r, (SELECT {CLOCK} AS now) n GROUP BY 1, 2, 3",
            record = self.record,
        )
    }

    /// Removes up to `$1` expired records. Those that others lock are left for the next time.
    fn purge(&self) -> String {
        let Self { record, step, .. } = self;
        format!(
            "WITH n AS MATERIALIZED (SELECT {CLOCK} AS now),
             gone AS (
                 DELETE FROM {record} WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM {record}
                      WHERE format = {FORMAT} AND purge_at <= (SELECT now >> {PURGE_SHIFT} FROM n)
                        AND expires_at <= (SELECT now FROM n)
                      ORDER BY purge_at LIMIT $1 FOR UPDATE SKIP LOCKED))
                 RETURNING key, steps),
             removed AS (
                 DELETE FROM {step} s USING gone WHERE gone.steps > 0 AND s.key = gone.key)
             SELECT count(*) FROM gone"
        )
    }
}

/// All columns of `r`, as the types that are read.
fn read() -> String {
    let columns = COLUMNS.iter().map(|column| match *column {
        "codec" | "format" => format!("r.{column}::bigint"),
        column => format!("r.{column}"),
    });
    let columns: Vec<_> = columns.chain(["r.version".to_owned()]).collect();
    columns.join(", ")
}
