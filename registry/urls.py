from django.urls import URLPattern

api_urlpatterns: list[URLPattern] = []
page_urlpatterns: list[URLPattern] = []
urlpatterns = api_urlpatterns + page_urlpatterns
