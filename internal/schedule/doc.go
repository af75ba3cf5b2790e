// Package schedule computes when jobs run. It is pure: the caller passes the current time.
// # Syntax
//
// A schedule is one of
//
//   - five fields, minute, hour, day of the month, month and day of the week, each a "*", a number, a range (1-5), a step
//     (*/15, 8-18/2, 5/15 for 5-59/15) or a list of these. Months and days of the week have names (JAN, mon); Sunday is 0 and 7.
//     If both kinds of day are restricted, a day matches if either matches: "0 0 13 * FRI" is every 13th and every Friday.
//   - @hourly, @daily (@midnight), @weekly, @monthly, @yearly (@annually), which stand for five fields.
//   - @every and a duration in whole seconds, from 10s to 87600h. Its occurrences are the anchor plus whole intervals, however long ago the
//     anchor is, and regardless of changes of the wall clock.
//   - "", which means never: such a job runs once when it is new, and again when it changes.
//
// The time zone is an IANA name, and UTC by default. The database of zones is the machine's, or the built-in one if the machine has none.
// The underlying parser, robfig/cron, panics on some texts, and accepts others that never run or run at unexpected times. So this package
// checks each text first. It refuses these, and each error says what to write instead:
//
//   - schedules that never run (30 February; an empty list), or run less often than they say (*/90: one step leaves the range)
//   - "@every" below 10 s or above ten years, with fractions of a second, or in days
//   - TZ= and CRON_TZ= before the fields, since the zone has a key of its own, and zones that differ from machine to machine (Local)
//   - seconds, years, @reboot, and the extensions of other crons: ? L W # ~ H
//   - ranges that run backwards (22-2), but not FRI-SUN
//   - a step from "*" for one kind of day while the other is restricted ("0 0 */2 * MON"): crons disagree on what that means
//
// # When clocks change
// The rules are those of Vixie cron and cronie, with one gap closed. They depend on which fields have a "*", with or without a step:
//
//   - Neither the minute nor the hour has a "*" ("30 2 * * *", @daily): the job runs once for each of its wall clock times. If the clock
//     skips such times, one run at the first instant after the gap makes up for them, even if the gap is a whole day (Pacific/Apia, 30
//     December 2011). If the clock shows a time twice, only the first counts.
//   - The hour has a "*" ("*/15 * * * *", "0 */2 * * *", @hourly): the job follows real time. It runs whenever the clock shows a match, even
//     for the second time, and makes up for nothing: every 15 minutes stays every 15 minutes.
//   - Only the minute has a "*" ("*/15 1-5 * * *"): the same, but one run at the first instant after the gap makes up for skipped times.
//     cronie lacks this; without it, "*/15 2 * * *" would not run for a whole day.
//
// So a daily job runs once on each day of the calendar, and an hourly job once in each hour that passes (except in zones that change by half
// an hour).
// # Jitter and missed runs
//
// A job runs later than its schedule by its [Offset], which is below the jitter and always the same. [Due] has the rules: a new or changed
// job is due at once; one run, within the jitter, makes up for any number of missed ones; and no occurrence counts twice, however long a job
// waited for its turn or a run took. Jobs wait in a [Queue] until they are due and started.
package schedule
