// Package confirm holds a configuration on trial: one that counts from now on, and is rolled
// back unless it is confirmed in time.
//
// [Core] decides, and is pure. [Files] is what it knows on disk, beside the configuration
// hvrouter.yaml:
//
//	hvrouter.yaml.pending   the [Record]: both configurations, while one waits or is being written
//	hvrouter.yaml.previous  what a confirmed configuration has replaced
//	hvrouter.yaml.rejected  what hvrouter.yaml was when the configuration before it returned
//
// The record is durable before anything else is touched, and the last thing to go. While it is
// there and does not say that the new configuration is confirmed, a start finds the old one,
// whatever hvrouter.yaml is: however the daemon or the machine ended, and however long it was
// away. So the deadline is measured by one process only, with its monotonic clock; no decision
// depends on the clock that people set.
package confirm
