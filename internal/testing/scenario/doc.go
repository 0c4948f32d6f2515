// Package scenario is how this module tests what has state: golden text scenarios under
// virtual time, and random searches whose failures shrink to such a scenario.
//
// A scenario is a text of lines, and every package writes it the same way:
//
//	# A comment. Comments and empty lines are kept.
//	peer bob as 65000      an input; it happens at the time of the input before it
//	+3s open bob           an input three seconds after the start
//	+10s                   no input: time passes until then
//		-> KEEPALIVE         an output: a line that begins with a tab
//		+33s -> KEEPALIVE    an output that came between two inputs, with its time
//		... 2 more, 30s apart
//
// What an input causes stands below it. What a timer causes stands below the input that
// came before, with the time at which it happened; a timer's output that repeats itself
// word for word is counted instead of written again.
//
// [Files] plays the scenarios of a directory and compares their outputs; the flag -update
// rewrites them, to be read as a diff. [Search] makes inputs at random.
package scenario
