//go:build tools

// Package storage names the program of another module that is built here, so that go.mod and
// go.sum pin all it needs.
package storage

import _ "github.com/versity/versitygw/cmd/versitygw"
