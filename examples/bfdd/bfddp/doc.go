// Package bfddp is the codec of the protocol between FRR's bfdd and its data plane, over a
// stream socket.
//
// bfdd keeps the configuration and tells routing daemons; with the option --dplaneaddr the
// sessions themselves live in the data plane. bfdd adds sessions under an id of its own
// and deletes them, the data plane reports changes of state, and either side may ask
// whether the other one is alive. bfdd waits for the answer to a request for counters
// without doing anything else.
//
// Integers are in network byte order. Version 1 is that of FRR 7.5 to 10; version 2 has
// more fields at the end of a session. bfdd closes its eyes to a message of another
// version than its own, so an answer has the version of what it answers.
//
// The layout of the messages is that of the structs in FRR's bfdd/bfddp_packet.h, including
// the octets that a C compiler leaves free between their fields.
package bfddp
