package main

import (
	"os"
	"testing"
)

// TestMain is the program itself if the environment says so, so that tests start it as
// processes.
func TestMain(m *testing.M) {
	if os.Getenv("BFDD_TEST_MAIN") == "1" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
