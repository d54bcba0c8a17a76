// Package conclave holds the vocabulary of Conclave.
package conclave
