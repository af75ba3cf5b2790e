//go:build !linux

package file

import "os"

// DropCache does nothing: only Linux can be told to forget what it keeps of a file in memory.
func DropCache(*os.File) {}
