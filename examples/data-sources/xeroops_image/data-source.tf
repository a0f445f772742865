# The newest image of the role that the account owns.
data "xeroops_image" "app" {
  role = "app"
}

# An image that a build account shares with this one.
data "xeroops_image" "db" {
  role         = "db"
  architecture = "arm64"
  owners       = ["210987654321"]
}
