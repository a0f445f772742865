# The newest image of the role among the account's own.
data "xeroops_image" "app" {
  role = "app"
}

# One that a build account shares with this one.
data "xeroops_image" "db" {
  role         = "db"
  architecture = "arm64"
  owners       = ["210987654321"]
}
