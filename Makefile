.PHONY: proto
PYTHON ?= python3.11
VENV ?= .venv
proto:
	$(VENV)/bin/python -m grpc_tools.protoc --proto_path=proto --python_out=. --pyi_out=. --grpc_python_out=. proto/mesh/v1/*.proto
