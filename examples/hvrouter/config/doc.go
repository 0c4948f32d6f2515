// Package config turns hvrouter's YAML file into typed, checked values.
//
// The package is pure but for [Load], which reads the file and the kernel's
// table names, and for the files of keys (md5-file). Decoding is strict: an unknown key, a value of the wrong kind, a
// duplicate table, an address outside its family are all errors that carry line
// and column, and every mistake that can be found without the machine is found
// before anything is touched. A file is refused whole or taken whole.
//
// [Config] is a plain value: whoever holds it may read it from any goroutine as
// long as nobody writes. A reload makes a new one.
//
// The same decoder reads guests that arrive over the API or lie in the inventory
// directory ([ParseGuests]): JSON is YAML, so both forms work.
package config
