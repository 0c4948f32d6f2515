// Package change says what a running daemon would lose, end, begin and change in place if its
// configuration were replaced by another one, before anything is touched.
//
// It compares two configurations and looks at nothing else; what the host lacks for the
// new one is for package host to say.
package change
