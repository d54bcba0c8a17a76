// Package validate holds the tests of what deploys Conclave: each file is read by
// the parser of the tool that it is for, and what it says of ports, variables and
// commands is compared with the program. It is a module of its own, so that those
// tools' libraries choose no version of what the program is made of.
package validate
