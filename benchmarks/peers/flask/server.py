"""Flask's quick start, with a model: `gunicorn server:app`."""

from flask import Flask, request

from benchmarks.model import Model
from benchmarks.setup import Setup

app = Flask(__name__)
model = Model.load(Setup())


@app.post("/predict")
def predict() -> dict[str, str]:
    """The class of one form."""
    inputs = {"text": request.form["text"]}
    inputs |= {name: file.read() for name, file in request.files.items()}
    return {"prediction": model.predict([inputs])[0]}
