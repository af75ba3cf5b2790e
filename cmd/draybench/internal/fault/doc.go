// Package fault runs programs that copy images between two registries of which one misbehaves, and tells what arrived.
//
// Each row of its [Table] is one fault at one side, each column a program. A run has two fresh registries in this process,
// each behind a gate that breaks what passes; what the target holds afterwards is judged from the inside, not asked for. The
// target takes manifests whose parts are missing, as some registries do, so that a program that tags too early is found out.
package fault
