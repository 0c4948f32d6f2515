// Package bfd is Bidirectional Forwarding Detection: RFC 5880, 5881 and 5883.
package bfd
