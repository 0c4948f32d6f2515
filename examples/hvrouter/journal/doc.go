// Package journal makes a stream of events of what a program logs: every record that
// has an attribute "event" is one, so that what people read in the log and what programs
// follow have the same names and the same words.
//
// [Journal.Handler] goes between slog and the handler that writes the log. Readers
// ([Journal.Subscribe]) never hold it up: each has room for so many events, and one
// that is slow loses the oldest, and is told how many ([Lost]). The last events are kept
// for readers that come later.
package journal
