// SPDX-License-Identifier: Apache-2.0

// Package rooms tests the shape of the code: which package may import which, and how large
// packages and files may be. ARCHITECTURE.md says what each package is for.
package rooms
