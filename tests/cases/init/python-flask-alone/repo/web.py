from flask import Flask

site: Flask = Flask("x")
