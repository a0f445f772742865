// Package ebs is the builder xeroops-ebs: it starts an instance from a source
// image, has it provisioned over SSH, and makes an AMI of it.
//
// The contract: whatever a build makes in the account carries the tag
// xeroops:build with the build's own id, and its name or id is recorded before
// the build waits for anything. A build that fails or is cancelled at any point
// takes back all of it; one that succeeds leaves the images alone.
package ebs
