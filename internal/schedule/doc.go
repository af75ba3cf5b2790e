// Package schedule decides when jobs run. It takes values and returns values; what time it is, it is told.
//
// # What can be written
//
// A schedule is one of
//
//   - five fields, minute, hour, day of the month, month and day of the week, each a "*", a number, a range (1-5), a step
//     (*/15, 8-18/2, 5/15 for 5-59/15) or a list of these. Months and days of the week have names (JAN, mon); Sunday is 0 and 7.
//     Where both kinds of day are restricted, a day that matches one of them matches: "0 0 13 * FRI" is every 13th and every Friday.
//   - @hourly, @daily (@midnight), @weekly, @monthly, @yearly (@annually), which stand for five fields.
//   - @every and a duration in whole seconds, from 10s to 87600h. Its occurrences are the anchor and whole intervals from there,
//     however long that is ago, and whatever the clock on the wall does.
//   - "", which is never: such a job runs once when it is new, and when it has changed.
//
// The time zone is an IANA name, and UTC by default. The database of zones is the machine's, or the built-in one where it has none.
//
// The parser below, robfig/cron, panics on some texts, and accepts others that run never or at other times than they seem to say.
// It only gets to see what this package has checked. Refused are, each with what to write instead:
//
//   - what never runs (30 February; an empty list), and what runs less often than it says (*/90: one step leaves the range)
//   - "@every" below 10 s or above ten years, with fractions of a second, or in days
//   - TZ= and CRON_TZ= before the fields, as the zone has a key of its own, and the zones that differ from machine to machine (Local)
//   - seconds, years, @reboot, and what other crons know: ? L W # ~ H
//   - ranges that run backwards (22-2), but not FRI-SUN
//   - a step from "*" for one kind of day while the other is restricted ("0 0 */2 * MON"): crons disagree on what that means
//
// # When clocks change
//
// The rules are those of Vixie cron and cronie, with one gap closed. They depend on where there is a "*", be it one with a step:
//
//   - Neither the minute nor the hour has a "*" ("30 2 * * *", @daily): the job runs once for each of its times on the wall.
//     Times that the clock skips are made up for by one run at the first instant after the gap, also where that is a whole day
//     (Pacific/Apia, 30 December 2011); of a time that it shows twice, only the first counts.
//   - The hour has a "*" ("*/15 * * * *", "0 */2 * * *", @hourly): the job follows the real time. It runs whenever the clock shows
//     a match, also for the second time, and nothing is made up for: every 15 minutes stays every 15 minutes.
//   - Only the minute has a "*" ("*/15 1-5 * * *"): the same, but skipped times are made up for by one run at the first instant
//     after the gap. Without that, which cronie does not do, "*/15 2 * * *" would not run for a whole day.
//
// So a daily job runs once on each day of the calendar, and an hourly job once in each hour that passes (but for zones that change by
// half an hour).
//
// # Jitter, and what was missed
//
// A job runs later than its schedule by its [Offset] within the jitter, always by the same. [Due] has the rules: what is new or has
// changed is due at once, and what was missed, however often, is made up for once, within the jitter; no occurrence counts twice,
// however long a job has waited for its turn or a run took. What is due waits in a [Queue].
package schedule
