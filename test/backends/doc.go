// SPDX-License-Identifier: Apache-2.0

// Package backends sends what the collector reports of real traffic to real backends, and asks
// these what a user would ask. It is a module of its own. The backends are programs, which
// scripts/backends/fetch.sh fetches and builds.
package backends
