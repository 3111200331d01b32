variable "name" {
  description = "What everything is called, and begins with."
  type        = string
  default     = "waybill"
}

variable "image" {
  description = "The image, built from the Dockerfile and pushed to a place that ECS reaches."
  type        = string
}

variable "vpc_id" {
  description = "The network to live in."
  type        = string
}

variable "public_subnet_ids" {
  description = "At least two subnets for the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "At least two subnets, in different zones and with a way out, for the containers and the database."
  type        = list(string)
}

variable "certificate_arn" {
  description = "The certificate of base_url's host."
  type        = string
}

variable "base_url" {
  description = "Where people and clients reach it: https://waybill.example.com."
  type        = string
}

variable "web_count" {
  description = "Containers that serve the dashboard and the API."
  type        = number
  default     = 2
}

variable "worker_count" {
  description = "Containers that deliver."
  type        = number
  default     = 2
}

variable "cpu" {
  description = "CPU units of a container; 1024 are one."
  type        = number
  default     = 512
}

variable "memory" {
  description = "MiB of memory of a container."
  type        = number
  default     = 1024
}

variable "database_class" {
  description = "Size of the database's machine."
  type        = string
  default     = "db.m7g.large"
}

variable "database_storage" {
  description = "GiB of storage of the database."
  type        = number
  default     = 100
}

variable "config" {
  description = "Further settings, as in .env.example: { RETENTION_DAYS = \"14\" }."
  type        = map(string)
  default     = {}
}
